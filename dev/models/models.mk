# Two small encoders as model directories for `rag embed`, examples and tests: one good, one weak.
# The wheels come from the package index by hash, whatever Python runs here: only their files are read.

RAG_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rag-operator
MODELS_DIR := $(RAG_CACHE)/models
MODELS_HERE := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: models
models: ## Make the two model directories below $RAG_CACHE/models
	@if [ -f "$(MODELS_DIR)/.requirements" ] && cmp -s "$(MODELS_DIR)/.requirements" $(MODELS_HERE)requirements.txt \
	  && [ -f "$(MODELS_DIR)/.convert.py" ] && cmp -s "$(MODELS_DIR)/.convert.py" $(MODELS_HERE)convert.py \
	  && [ -f "$(MODELS_DIR)/wordllama/config.json" ] && [ -f "$(MODELS_DIR)/tokenlearn/config.json" ]; then \
	  echo "models: up to date in $(MODELS_DIR)"; \
	else \
	  wheels=$$(mktemp -d) && trap 'rm -rf "$$wheels"' EXIT \
	  && python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
	       --implementation cp --python-version 3.11 --abi cp311 --abi abi3 \
	       --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
	       --dest "$$wheels" --requirement $(MODELS_HERE)requirements.txt \
	  && python3 $(MODELS_HERE)convert.py "$$wheels" "$(MODELS_DIR)" \
	  && cp $(MODELS_HERE)requirements.txt "$(MODELS_DIR)/.requirements" \
	  && cp $(MODELS_HERE)convert.py "$(MODELS_DIR)/.convert.py"; \
	fi

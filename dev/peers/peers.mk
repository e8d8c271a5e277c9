# Programs that the tests compare numbers with, as wheels by hash, unpacked and never installed.

PEERS_DIR := $(RAG_CACHE)/peers
PEERS_HERE := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: peers
peers: ## Unpack trec_eval, as a Python wheel, below $RAG_CACHE/peers
	@if [ -f "$(PEERS_DIR)/.requirements" ] && cmp -s "$(PEERS_DIR)/.requirements" $(PEERS_HERE)requirements.txt \
	  && PYTHONPATH="$(PEERS_DIR)" python3 -c 'import pytrec_eval_ext' 2>/dev/null; then \
	  echo "peers: up to date in $(PEERS_DIR)"; \
	else \
	  wheels=$$(mktemp -d) && trap 'rm -rf "$$wheels"' EXIT \
	  && python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
	       --dest "$$wheels" --requirement $(PEERS_HERE)requirements.txt \
	  && rm -rf "$(PEERS_DIR)" && mkdir -p "$(PEERS_DIR)" \
	  && for wheel in "$$wheels"/*.whl; do python3 -m zipfile -e "$$wheel" "$(PEERS_DIR)" || exit 1; done \
	  && cp $(PEERS_HERE)requirements.txt "$(PEERS_DIR)/.requirements"; \
	fi

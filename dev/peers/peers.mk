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

BENCH_PEERS_DIR := $(RAG_CACHE)/bench-peers

.PHONY: bench-peers
bench-peers: ## Install what `make bench` compares with below $RAG_CACHE/bench-peers (Python 3.11 to 3.13, 540 MB)
	@if cmp -s "$(BENCH_PEERS_DIR)/.requirements" $(PEERS_HERE)bench-requirements.txt; then \
	  echo "bench-peers: up to date in $(BENCH_PEERS_DIR)"; \
	else \
	  rm -rf "$(BENCH_PEERS_DIR)" \
	  && PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --ignore-installed --disable-pip-version-check --no-compile --only-binary=:all: --require-hashes \
	       --target "$(BENCH_PEERS_DIR)" --requirement $(PEERS_HERE)bench-requirements.txt \
	  && cp $(PEERS_HERE)bench-requirements.txt "$(BENCH_PEERS_DIR)/.requirements"; \
	fi

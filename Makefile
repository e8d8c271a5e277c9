# rag-operator: `make demo` shows it, `make test` proves it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

include dev/cluster/cluster.mk
include dev/models/models.mk
include dev/peers/peers.mk

TARGET := target/x86_64-unknown-linux-gnu
# What the end-to-end tests and the demo run in: the project's own cluster, or `current` for the kubeconfig's.
export CLUSTER ?= own
export RAG_CACHE

.PHONY: help lint test demo bench crds image
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

lint: ## Format and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

test: lint doctor models peers ## Everything: lint, unit and integration tests, and the story on the real cluster
	$(MAKE) --no-print-directory cluster-for-$(CLUSTER)
	cargo build --locked --bin rag --examples
	cargo test --locked

demo: doctor models ## The story on the real cluster, told step by step
	$(MAKE) --no-print-directory cluster-for-$(CLUSTER)
	cargo build --locked --bin rag --example demo --example fault-proxy
	cargo run --locked --quiet --example demo

bench: bench-peers ## Measure, in a release build: tables, and JSON below target/bench (CLUSTER=none: without the cluster)
	cargo bench --locked --bench serve --bench index --bench verdicts --bench evaluate
	$(MAKE) --no-print-directory bench-cluster-$(CLUSTER)

.PHONY: bench-cluster-own bench-cluster-current bench-cluster-none
bench-cluster-own bench-cluster-current: bench-cluster-%: doctor models
	$(MAKE) --no-print-directory cluster-for-$*
	cargo build --locked --release --example fault-proxy
	cargo bench --locked --bench cluster
bench-cluster-none:
	@echo "The operator is not measured: that needs a cluster, and CLUSTER is none."

crds: ## Write crds/ anew from the types
	RAG_WRITE_GOLDENS=1 cargo test --locked --test crds

.PHONY: cluster-for-own cluster-for-current
cluster-for-own: cluster
cluster-for-current:
	@echo "The current kubeconfig context is used; IMAGE must name an image of this build that its nodes can pull."

# The test cluster. The Makefile includes this file.

CLUSTER_SCRIPTS := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

.PHONY: doctor cluster cluster-down

doctor: ## Say what this machine lacks, one sentence each
	@$(CLUSTER_SCRIPTS)/doctor

cluster: ## Build what the test cluster lacks and start it
	@$(CLUSTER_SCRIPTS)/build
	@$(CLUSTER_SCRIPTS)/cluster up

cluster-down: ## Remove the test cluster and all its state
	@$(CLUSTER_SCRIPTS)/cluster down

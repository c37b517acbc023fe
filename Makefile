# make help lists the targets.

LISTEN ?= 127.0.0.1:8080
DATA ?= .chandler
FUZZTIME ?= 1m
# Packages whose tests run side by side: most of them wait for servers.
PARALLEL ?= 2
DIST ?= bin/dist

GOLANGCI_LINT_VERSION = v2.15.0
GOLANGCI_LINT = bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)
DEPENDENCIES = deploy/install/dependencies
# The Go modules, the product's first. Those in embedded are the sources of servers.
MODULES = $(patsubst %/,%,$(dir $(filter-out embedded/%,$(wildcard go.mod */go.mod */*/go.mod))))
# What runs whole deployments; the brokers in it have the race detector.
DEPLOYMENTS = acceptance acceptance/bench examples/forum
# Runs a command in each of some folders.
each = @set -e; for folder in $(1); do (cd $$folder; set -x; $(2)); done

# A server that is missing fails a test instead of skipping it; folders are in
# memory where there is room.
TESTENV = CI=true $(shell tools/memory-folder)
# make lint vets, and nobody debugs these programs.
TEST = $(TESTENV) go test -vet=off -ldflags=-w -timeout 25m
# The tests are built as a release is, which they build too: compiled once for both.
TEST_DEPLOYMENTS = CGO_ENABLED=0 $(TEST) -trimpath -count 1
PACKAGES = $$(go list ./... | grep -vxF $(DEPLOYMENTS:%=-e github.com/chandler-broker/chandler/%))

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo 'Variables: LISTEN=$(LISTEN) DATA=$(DATA) FUZZTIME=$(FUZZTIME) PARALLEL=$(PARALLEL) DIST=$(DIST)'

.PHONY: run
run: run-deps build ## run the broker with servers of its own, prove it, and stay up; ONCE=1 ends after the proof, ALL=1 installs MariaDB, RabbitMQ and Samba too, VAULT=1 keeps credentials in a real Vault
	bin/chandler dev --listen $(LISTEN) --data $(DATA) --smoke$(if $(ONCE), --once)$(if $(VAULT), --vault)

.PHONY: test
test: test-deps test-packages test-acceptance ## all tests, on real servers, with the race detector

.PHONY: test-packages test-acceptance
# First the one that takes long because it waits: others work beside it.
test-packages:
	$(TEST) -race -p $(PARALLEL) ./services/queue/rabbitmq $(PACKAGES)
	$(call each,$(filter-out .,$(MODULES)),$(TEST) -race -p $(PARALLEL) $(PACKAGES))
test-acceptance:
	$(call each,$(DEPLOYMENTS),$(TEST_DEPLOYMENTS) .)

.PHONY: build
build: build-deps ## build bin/chandler
	CGO_ENABLED=0 go build -trimpath -o bin/chandler ./cmd/chandler

.PHONY: check
check: lint test-deps test-packages ## what a change must pass before it is proposed: lint and the tests of the packages

.PHONY: lint
lint: build-deps $(GOLANGCI_LINT) ## formatting, go vet, golangci-lint with the import rules
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(call each,$(MODULES),go vet ./... && $(CURDIR)/$(GOLANGCI_LINT) run ./...)

.PHONY: acceptance
acceptance: test-deps ## only the acceptance suite
	$(call each,$(DEPLOYMENTS),$(TEST_DEPLOYMENTS) -v .)

# Ginkgo's own report is of no interest but where the story fails.
.PHONY: forum
forum: forum-deps ## tell the story of an application on all five families, and keep its page up; ONCE=1 ends with the test's status
	@mkdir -p bin
	@cd examples/forum && go test -c -o $(CURDIR)/bin/forum.test . && \
		$(TESTENV) FORUM_NARRATE=1 $(if $(ONCE),,FORUM_KEEP=1) $(CURDIR)/bin/forum.test \
		-test.timeout 0 -ginkgo.timeout 24h -ginkgo.no-color > $(CURDIR)/bin/forum.log || { cat $(CURDIR)/bin/forum.log; exit 1; }

# The version is the tag of the commit, in a folder that is not there yet.
.PHONY: release
release: build-deps ## build the release of the checked-out commit into DIST, with checksums and lists of what it is made of
	deploy/release/build $(DIST)

.PHONY: bench
bench: test-deps ## ratios side by side: the broker against what it stands on
	$(call each,$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u),$(TESTENV) go test -count 1 -run '^$$' -bench . -timeout 30m .)

.PHONY: bench-scale
bench-scale: test-deps ## throughput, start and memory of a broker with a million instances
	CHANDLER_BENCH_INSTANCES=1000000 $(TESTENV) go test -count 1 -run '^$$' -bench 'Throughput|Start' -timeout 60m ./acceptance/bench

.PHONY: fuzz
fuzz: test-deps ## every fuzz target for FUZZTIME
	tools/fuzz $(FUZZTIME)

.PHONY: install-deps
install-deps: test-deps $(GOLANGCI_LINT) ## install what all targets need, or say what is missing

.PHONY: clean
clean: ## remove what make built; data folders stay
	rm -rf bin

.PHONY: build-deps run-deps forum-deps test-deps
build-deps:
	@$(DEPENDENCIES) go
run-deps:
	@$(DEPENDENCIES) go postgres powerdns$(if $(ALL), mariadb rabbitmq samba)
forum-deps:
	@$(DEPENDENCIES) go postgres powerdns
test-deps:
	@$(DEPENDENCIES) go postgres powerdns mariadb rabbitmq samba node btrfs compiler systemd prometheus

# Under the version's name, so that a new version is installed by naming it.
$(GOLANGCI_LINT):
	mkdir -p bin/tools
	GOBIN=$(CURDIR)/bin/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/tools/golangci-lint $@

# "make help" lists the targets.

LISTEN ?= 127.0.0.1:8080
DATA ?= .chandler
FUZZTIME ?= 1m
# How often "make storm" runs the storms, and how many replicas the one on OpenStack and Ceph kills.
STORMS ?= 1
KILLS ?= 20
# The number of packages whose tests run in parallel. Most of them wait for servers.
PARALLEL ?= 2
DIST ?= bin/dist

GOLANGCI_LINT_VERSION = v2.15.0
GOLANGCI_LINT = bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)
DEPENDENCIES = deploy/install/dependencies
# The Go modules, the product's first. Those in embedded are the sources of servers.
MODULES = $(patsubst %/,%,$(dir $(filter-out embedded/%,$(wildcard go.mod */go.mod */*/go.mod))))
# The suites that run whole deployments, with brokers built with the race detector, and those of
# what is shipped beside the programs.
DEPLOYMENTS = acceptance acceptance/deploy acceptance/bench examples/forum
# The packages of the private cloud, in most of which one operation takes seconds.
CLOUD = embedded/openstack services/openstack services/dns/designate services/database/trove services/filesystem/manila services/filesystem/rgw
# $(call each,FOLDERS,COMMAND) runs a command in each folder.
each = @set -e; for folder in $(1); do (cd $$folder; set -x; $(2)); done

# With CI=true, a missing server fails a test instead of skipping it. Temporary folders
# are in memory if there is enough.
TESTENV = CI=true $(shell tools/memory-folder)
# "make lint" vets, and these programs need no debug information.
TEST = $(TESTENV) go test -vet=off -ldflags=-w -timeout 25m
# The tests also build a release. The same flags for both compile the packages once.
TEST_DEPLOYMENTS = CGO_ENABLED=0 $(TEST) -trimpath -count 1
PACKAGES = $$(go list ./... | grep -vxF $(patsubst %,-e github.com/chandler-broker/chandler/%,$(DEPLOYMENTS)))

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo 'Variables: LISTEN=$(LISTEN) DATA=$(DATA) FUZZTIME=$(FUZZTIME) STORMS=$(STORMS) KILLS=$(KILLS) PARALLEL=$(PARALLEL) DIST=$(DIST)'

.PHONY: run
run: run-deps build ## run the broker with private servers, test every plan, and stay up; ONCE=1 exits after the test, ALL=1 also installs MariaDB, RabbitMQ and Samba, VAULT=1 stores credentials in a real Vault, OPENSTACK=1 also starts a private OpenStack cloud with Ceph (on Debian 12)
	bin/chandler dev --listen $(LISTEN) --data $(DATA) --smoke$(if $(ONCE), --once)$(if $(VAULT), --vault)$(if $(OPENSTACK), --openstack)

.PHONY: test
ifdef PKG
test: test-deps test-package ## run all tests on real servers with the race detector; PKG=./services/queue/... runs only these packages
else
# Both wait for servers half of the time.
test: test-deps
	$(MAKE) --no-print-directory --jobs=2 test-packages test-acceptance
endif

.PHONY: test-package test-packages test-acceptance
# A package is tested in its own module.
test-package:
	@package=$(PKG) module=.; for other in $(MODULES:%=./%); do case $$package/ in $$other/*) module=$$other;; esac; done; \
	set -x; cd $$module && $(TEST) -race -p $(PARALLEL) .$${package#$$module}
# The package that mostly waits starts first, so that others run meanwhile.
test-packages:
	$(TEST) -race -p $(PARALLEL) ./services/queue/rabbitmq $(PACKAGES)
	$(call each,$(filter-out .,$(MODULES)),$(TEST) -race -p $(PARALLEL) $(PACKAGES))
test-acceptance:
	$(call each,$(DEPLOYMENTS),$(TEST_DEPLOYMENTS) .)

.PHONY: test-cloud
test-cloud: test-deps ## run the full form of the tests on a private OpenStack cloud, of which "make test" runs a short form
	CHANDLER_TEST_FULL=1 $(TEST) -timeout 90m -race -p 1 $(CLOUD:%=./%)

# A suite can run only once in a process.
.PHONY: storm
storm: test-deps ## run the storms on two replicas STORMS times; the one on OpenStack and Ceph until KILLS replicas were killed
	$(call each,acceptance,for storm in $$(seq $(STORMS)); do \
		CHANDLER_STORM_KILLS=$(KILLS) $(TEST_DEPLOYMENTS) -timeout 60m -v . -ginkgo.timeout 60m -ginkgo.focus 'Two replicas'; done)

.PHONY: build
build: build-deps ## build bin/chandler and bin/chandler-functions
	CGO_ENABLED=0 go build -trimpath -o bin/chandler ./cmd/chandler
	cd functions && CGO_ENABLED=0 go build -trimpath -o ../bin/chandler-functions ./cmd/chandler-functions

.PHONY: check
check: lint test-deps test-packages ## run what a change must pass: lint and the tests of the packages

.PHONY: lint
lint: build-deps $(GOLANGCI_LINT) ## check formatting; run go vet and golangci-lint with the import rules
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(call each,$(MODULES),go vet ./... && $(CURDIR)/$(GOLANGCI_LINT) run ./...)

.PHONY: acceptance
acceptance: test-deps ## run only the acceptance suite
	$(call each,$(DEPLOYMENTS),$(TEST_DEPLOYMENTS) -v .)

# Ginkgo's own report matters only if the story fails.
.PHONY: forum
forum: forum-deps ## narrate the story of an application on all five families, and keep its page up; ONCE=1 exits with the test's status
	@mkdir -p bin
	@cd examples/forum && go test -c -o $(CURDIR)/bin/forum.test . && \
		$(TESTENV) FORUM_NARRATE=1 $(if $(ONCE),,FORUM_KEEP=1) $(CURDIR)/bin/forum.test \
		-test.timeout 0 -ginkgo.timeout 24h -ginkgo.no-color > $(CURDIR)/bin/forum.log || { cat $(CURDIR)/bin/forum.log; exit 1; }

# The version is the commit's tag. DIST must be empty or absent.
.PHONY: release
release: build-deps ## build the release of the checked-out commit into DIST, with checksums and lists of modules
	deploy/release/build $(DIST)

.PHONY: bench
bench: test-deps ## compare the broker with the servers below it
	$(call each,$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u),$(TESTENV) go test -count 1 -run '^$$' -bench . -timeout 30m .)

.PHONY: bench-scale
bench-scale: test-deps ## measure throughput, start and memory of a broker with a million instances
	$(call each,acceptance/bench,CHANDLER_BENCH_INSTANCES=1000000 $(TESTENV) go test -count 1 -run '^$$' -bench 'Throughput|Start' -timeout 60m .)

.PHONY: fuzz
fuzz: test-deps ## run every fuzz target for FUZZTIME
	tools/fuzz $(FUZZTIME)

.PHONY: install-deps
install-deps: test-deps $(GOLANGCI_LINT) ## install the dependencies of all targets, or list what is missing

.PHONY: clean
clean: ## remove everything that make built, except data folders
	rm -rf bin

.PHONY: build-deps run-deps forum-deps test-deps
build-deps:
	@$(DEPENDENCIES) go
run-deps:
	@$(DEPENDENCIES) go postgres powerdns$(if $(ALL), mariadb rabbitmq samba)$(if $(OPENSTACK), mariadb openstack)
forum-deps:
	@$(DEPENDENCIES) go postgres powerdns
test-deps:
	@$(DEPENDENCIES) go postgres powerdns mariadb rabbitmq samba node btrfs compiler systemd prometheus zstd openstack

# The file name contains the version, so that a new version is installed automatically.
$(GOLANGCI_LINT):
	mkdir -p bin/tools
	GOBIN=$(CURDIR)/bin/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/tools/golangci-lint $@

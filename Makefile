# make help lists the targets.

LISTEN ?= 127.0.0.1:8080
DATA ?= .chandler
FUZZTIME ?= 1m

GOLANGCI_LINT_VERSION = v2.15.0
GOLANGCI_LINT = bin/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)
DEPENDENCIES = deploy/install/dependencies
MODULE = github.com/chandler-broker/chandler

# What make test ran on: a server that is missing fails a test instead of
# skipping it.
TESTENV = CI=true

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo 'Variables: LISTEN=$(LISTEN) DATA=$(DATA) FUZZTIME=$(FUZZTIME)'

.PHONY: run
run: run-deps build ## run the broker with servers of its own, prove it, and stay up; ONCE=1 ends after the proof, ALL=1 installs MariaDB, RabbitMQ and Samba too, VAULT=1 keeps credentials in a real Vault
	bin/chandler dev --listen $(LISTEN) --data $(DATA) --smoke$(if $(ONCE), --once)$(if $(VAULT), --vault)

.PHONY: test
test: test-deps ## all tests, on real servers, with the race detector
	$(TESTENV) go test -race -timeout 15m $$(go list ./... | grep -v '^$(MODULE)/acceptance')
	$(TESTENV) go test -race -count 1 -timeout 20m ./acceptance/...

.PHONY: build
build: build-deps ## build bin/chandler
	CGO_ENABLED=0 go build -trimpath -o bin/chandler ./cmd/chandler

.PHONY: check
check: test-deps lint ## what a change must pass before it is proposed: lint and the tests of the packages
	$(TESTENV) go test -race -timeout 15m $$(go list ./... | grep -v '^$(MODULE)/acceptance')

.PHONY: lint
lint: build-deps $(GOLANGCI_LINT) ## formatting, go vet, golangci-lint with the import rules
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(GOLANGCI_LINT) run ./...

.PHONY: acceptance
acceptance: test-deps ## only the acceptance suite
	$(TESTENV) go test -race -count 1 -v -timeout 20m ./acceptance/...

# Ginkgo's own report is of no interest but where the story fails.
.PHONY: forum
forum: forum-deps ## tell the story of an application on all five families, and keep its page up; ONCE=1 ends with the test's status
	@mkdir -p bin
	go test -c -o bin/forum.test ./acceptance/forum
	@cd acceptance/forum && $(TESTENV) FORUM_NARRATE=1 $(if $(ONCE),,FORUM_KEEP=1) $(CURDIR)/bin/forum.test \
		-test.timeout 0 -ginkgo.timeout 24h -ginkgo.no-color > $(CURDIR)/bin/forum.log || { cat $(CURDIR)/bin/forum.log; exit 1; }

.PHONY: bench
bench: test-deps ## ratios side by side: the broker against what it stands on
	$(TESTENV) go test -count 1 -run '^$$' -bench . -timeout 30m \
		$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u)

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
	@$(DEPENDENCIES) go postgres powerdns mariadb rabbitmq samba node btrfs compiler

# Under the version's name, so that a new version is installed by naming it.
$(GOLANGCI_LINT):
	mkdir -p bin/tools
	GOBIN=$(CURDIR)/bin/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/tools/golangci-lint $@

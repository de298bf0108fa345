# make check is what CI runs. Every directory with a go.mod is a module of its own, found by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GOLANGCI := v2.15.0
GOVULNCHECK := v1.9.0
CONTROLLERGEN := v0.23.0
RUSTIC_VERSION := ^0.11

# How long make fuzz searches with each target; 500x is as many calls.
FUZZTIME := 60s

BIN := $(CURDIR)/.cache/bin
MODULES := $(shell find . -name go.mod -not -path './.cache/*' -printf '%h\n' | sort)
# Kubernetes' servers take minutes to compile, again for each tool that looks at them: that module is only built, by what fetches it.
CHECKED := $(filter-out ./internal/e2e/kube,$(MODULES))
TESTED := $(filter-out ./internal/e2e ./internal/e2e/flow,$(CHECKED))

# each runs a command in every module of a list, and stops at the first that fails.
each = @for m in $(1); do echo "==> $$m: $(2)"; (cd $$m && $(2)) || exit 1; done

.PHONY: check fmt vet tidy generate generated lint vuln test fuzz fuzz-briefly e2e e2e-kubernetes chaos interop-rustic bench bench-repository bench-storage bench-elasticsearch

check: fmt tidy vet generated lint vuln test fuzz-briefly e2e

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:" $$out; exit 1; fi

tidy:
	$(call each,$(MODULES),GOWORK=off go mod tidy -diff)

vet:
	$(call each,$(CHECKED),go vet ./...)

# What controller-gen makes of the types: copies, and CustomResourceDefinitions.
generate: $(BIN)/controller-gen-$(CONTROLLERGEN)
	$< object paths=./task
	@rm -f task/crds/*.yaml
	$< crd:maxDescLen=0 paths=./task paths=./storage paths=./appbinding output:crd:dir=task/crds

# Is what is committed what the types say?
generated: generate
	@out=$$(git status --porcelain -- task/zz_generated.deepcopy.go task/crds) && [ -z "$$out" ] || \
		{ echo "generated files are not those of the types: make generate, and commit"; exit 1; }

lint: $(BIN)/golangci-lint-$(GOLANGCI)
	$(call each,$(CHECKED),$(BIN)/golangci-lint-$(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...)

# Fails on findings. Without its database, which some build machines cannot reach, it says so and goes on.
vuln: $(BIN)/govulncheck-$(GOVULNCHECK)
	@for m in $(CHECKED); do \
		echo "==> $$m: govulncheck ./..."; \
		out=$$(cd $$m && $(BIN)/govulncheck-$(GOVULNCHECK) ./... 2>&1) && continue; code=$$?; \
		if [ $$code -ne 3 ] && grep -q 'fetching vulnerabilities' <<<"$$out"; then \
			echo "    not checked: the vulnerability database cannot be reached from here"; break; \
		fi; \
		echo "$$out"; exit $$code; \
	done

test:
	$(call each,$(TESTED),go test -race -timeout 20m ./...)

# Every fuzz target of every module, one after the other: go test takes one at a time.
fuzz:
	@grep -rl --include='*_test.go' --exclude-dir=.cache '^func Fuzz' . | sort | while read -r file; do \
		dir=$$(dirname $$file); \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "==> $$dir: $$target for $(FUZZTIME)"; \
			(cd $$dir && go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s . </dev/null) || exit 1; \
		done; \
	done

fuzz-briefly:
	@$(MAKE) --no-print-directory fuzz FUZZTIME=500x

# -count=1: go test's cache does not know the programs that these tests start, and would give the result that another build of them had.
e2e:
	cd internal/e2e && go test -count=1 -timeout 80m ./...
	cd internal/e2e/flow && go test -count=1 -timeout 30m -parallel 4 ./...

# The part of e2e that runs on a Kubernetes cluster, which needs root, with what it needs.
e2e-kubernetes:
	cd internal/e2e && go run ./cmd/fetch kube minio
	cd internal/e2e/flow && ESCROW_E2E=require go test -count=1 -timeout 30m -parallel 4 ./...

# Increments under writers while primaries are killed: KILLS and BACKUPS at least, SEED to repeat a run's choices. VERSIONS of Elasticsearch
# are all that the tests run on, one after the other; such as VERSIONS=9.5.2.
KILLS := 15
BACKUPS := 30
VERSIONS ?= $(ESCROW_ES_VERSIONS)
chaos:
	cd internal/e2e && ESCROW_ES_VERSIONS=$(VERSIONS) ESCROW_CHAOS_KILLS=$(KILLS) ESCROW_CHAOS_BACKUPS=$(BACKUPS) ESCROW_CHAOS_SEED=$(SEED) \
		ESCROW_E2E=require go test -count=1 -timeout 90m -v -run '^TestChaos$$' .

# Tests with the rustic program, which takes a quarter of an hour to build.
interop-rustic: .cache/rustic/bin/rustic
	cd internal/e2e && ESCROW_E2E=require ESCROW_RUSTIC=$(CURDIR)/$< go test -count=1 -timeout 30m -run Rustic . && \
		ESCROW_E2E=require ESCROW_RUSTIC=$(CURDIR)/$< go test -count=1 ./rusticcli

.cache/rustic/bin/rustic:
	cargo install --locked --no-default-features --root .cache/rustic rustic-rs --version '$(RUSTIC_VERSION)'

bench-repository:
	cd internal/e2e && go run ./cmd/benchrepo -dir $(or $(wildcard /dev/shm),/tmp)

# The same with the repositories on MinIO.
bench-storage:
	cd internal/e2e && go run ./cmd/benchrepo -s3

# Backups and restores of DOCS documents, beside a reader, a writer, elasticdump and the server's own snapshot.
DOCS := 1000000
bench-elasticsearch:
	cd internal/e2e && go run ./cmd/benchelastic -docs $(DOCS) -dir $(or $(wildcard /dev/shm),/tmp)

bench:
	$(call each,$(TESTED),go test -run '^$$' -bench . -benchmem ./...)

$(BIN)/golangci-lint-$(GOLANGCI):
	@mkdir -p $(BIN)/tmp
	GOWORK=off GOBIN=$(BIN)/tmp go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv $(BIN)/tmp/golangci-lint $@

$(BIN)/controller-gen-$(CONTROLLERGEN):
	@mkdir -p $(BIN)/tmp
	GOWORK=off GOBIN=$(BIN)/tmp go install sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLERGEN)
	@mv $(BIN)/tmp/controller-gen $@

$(BIN)/govulncheck-$(GOVULNCHECK):
	@mkdir -p $(BIN)/tmp
	GOWORK=off GOBIN=$(BIN)/tmp go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)
	@mv $(BIN)/tmp/govulncheck $@

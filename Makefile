# make check is what CI runs. Every directory with a go.mod is a module of its own, found by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GOLANGCI := v2.15.0
GOVULNCHECK := v1.9.0

BIN := $(CURDIR)/.cache/bin
MODULES := $(shell find . -name go.mod -not -path './.cache/*' -printf '%h\n' | sort)
TESTED := $(filter-out ./internal/e2e,$(MODULES))

# each runs a command in every module of a list, and stops at the first that fails.
each = @for m in $(1); do echo "==> $$m: $(2)"; (cd $$m && $(2)) || exit 1; done

.PHONY: check fmt vet tidy lint vuln test e2e bench bench-repository

check: fmt tidy vet lint vuln test e2e

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:" $$out; exit 1; fi

tidy:
	$(call each,$(MODULES),GOWORK=off go mod tidy -diff)

vet:
	$(call each,$(MODULES),go vet ./...)

lint: $(BIN)/golangci-lint-$(GOLANGCI)
	$(call each,$(MODULES),$(BIN)/golangci-lint-$(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...)

# Fails on findings. Without its database, which some build machines cannot reach, it says so and goes on.
vuln: $(BIN)/govulncheck-$(GOVULNCHECK)
	@for m in $(MODULES); do \
		echo "==> $$m: govulncheck ./..."; \
		out=$$(cd $$m && $(BIN)/govulncheck-$(GOVULNCHECK) ./... 2>&1) && continue; code=$$?; \
		if [ $$code -ne 3 ] && grep -q 'fetching vulnerabilities' <<<"$$out"; then \
			echo "    not checked: the vulnerability database cannot be reached from here"; break; \
		fi; \
		echo "$$out"; exit $$code; \
	done

test:
	$(call each,$(TESTED),go test -race -timeout 10m ./...)

e2e:
	cd internal/e2e && go test -timeout 80m ./...

bench-repository:
	cd internal/e2e && go run ./cmd/benchrepo -dir $(or $(wildcard /dev/shm),/tmp)

bench:
	$(call each,$(TESTED),go test -run '^$$' -bench . -benchmem ./...)

$(BIN)/golangci-lint-$(GOLANGCI):
	@mkdir -p $(BIN)/tmp
	GOWORK=off GOBIN=$(BIN)/tmp go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@mv $(BIN)/tmp/golangci-lint $@

$(BIN)/govulncheck-$(GOVULNCHECK):
	@mkdir -p $(BIN)/tmp
	GOWORK=off GOBIN=$(BIN)/tmp go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)
	@mv $(BIN)/tmp/govulncheck $@

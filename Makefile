# make demo   builds and runs tocsin with a simulated fleet.
# make test   passes everything but the Kubernetes tier.
# make help   lists the rest.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
V       := github.com/prometheus/common/version
LDFLAGS := -s -w -X $(V).Version=$(VERSION) -X $(V).Revision=$(shell git rev-parse --short HEAD 2>/dev/null) \
	-X $(V).Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)
export CGO_ENABLED ?= 0

.PHONY: help build demo test e2e once lint bench bench-core kernels fuzz tools quality fleet-run clean

help: ## List the targets.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## Leave bin/tocsin and bin/fleetsim.
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build tools-prometheus ## Run tocsin on its defaults with a simulated fleet until Ctrl-C.
	@bin/tocsin demo --fleetsim bin/fleetsim --prometheus "$$(test/e2e/tools/build prometheus)/prometheus"

test: tools-prometheus tools-alertmanager ## Unit and acceptance tests.
	$(GO) vet ./...
	$(GO) test -timeout 20m ./...

e2e: tools-k8s tools-prometheus tools-alertmanager build ## End-to-end tests on real control planes.
	$(GO) test -tags e2e -timeout 30m -parallel 20 -count 1 -v ./test/e2e/...

INCIDENTS ?= 1000
once: tools-k8s ## Rivals, lost replies, kill -9: count rollbacks in each of INCIDENTS (a quarter of an hour).
	TOCSIN_ONCE_INCIDENTS=$(INCIDENTS) $(GO) test -tags e2e -timeout 90m -count 1 -v -run '^TestExactlyOnce$$' ./test/e2e

lint: ## What a reviewer should not have to say.
	$$(test/e2e/tools/build lint)/golangci-lint run ./...

bench: ## The figures of docs/performance.md.
	$(GO) test -run '^$$' -bench . -benchmem ./series/... ./detector/... ./release/... ./collectors/... ./store/...

RELEASES ?= 10000
judge-table: build ## Measure the judges of releases anew and write docs/verdicts.md's tables.
	@bin/tocsin judge simulate --releases $(RELEASES) >bin/judge-table.md
	@bin/tocsin judge simulate --releases $(RELEASES) --class medium --generator other >>bin/judge-table.md
	@bin/tocsin judge simulate --releases $(RELEASES) --of leaks >>bin/judge-table.md
	@bin/tocsin judge simulate --releases $(RELEASES) --of pools >>bin/judge-table.md
	@sed '/<!-- judge-table -->/q' docs/verdicts.md >bin/verdicts.md && echo >>bin/verdicts.md
	@cat bin/judge-table.md >>bin/verdicts.md && mv bin/verdicts.md docs/verdicts.md

RUNS ?= 6
bench-core: ## The detection core as ratios: kernels, their twin, the memory floor.
	@mkdir -p bin
	$(GO) test -run '^$$' -bench '^BenchmarkCore$$' -count $(RUNS) ./detector/kernel | tee bin/bench-core.txt
	@$$(test/e2e/tools/build bench)/benchstat bin/bench-core.txt

kernels: ## The detector's arithmetic as other machines do it.
	test/kernels/run

FUZZTIME ?= 30s
fuzz: ## Every fuzz target for FUZZTIME.
	@$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
		grep -hoE '^func Fuzz[A-Za-z0-9]*' "$$dir"/*_test.go 2>/dev/null | cut -c6- | while read -r target; do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; \
		done || exit 1; \
	done

tools: tools-prometheus tools-alertmanager tools-k8s tools-lint ## Build all programs of the test bed.

tools-%:
	@test/e2e/tools/build $* >/dev/null

clean: ## Remove bin.
	rm -rf bin

DATA ?= ../shared/data
quality: build ## Score the detector on labelled recordings below DATA; docs/quality.md has the last run.
	@test/quality/run $(DATA) /tmp/tocsin-quality

FLEET ?=
fleet-run: ## Two weeks of 300 simulated clusters, detected in one process (10 minutes); FLEET="--days 2 ..." for others.
	@mkdir -p bin
	@$(GO) build -o bin/ ./test/quality/fleetrun
	@bin/fleetrun $(FLEET)

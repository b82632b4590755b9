VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The packages that have benchmarks.
BENCHED = $(shell grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u)

.PHONY: build test bench lint help

build: ## a static binary, bin/gatehouse
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X gatehouse/command.version=$(VERSION)' -o bin/gatehouse .

test: ## installs what the tests drive (Redis, Chromium), then runs every test with the race detector
	./scripts/test-deps.sh
	go test -race -timeout 14m ./...

bench: ## the benchmarks, briefly
	@if [ -z "$(BENCHED)" ]; then echo 'no package has benchmarks'; else go test -run '^$$' -bench . -benchmem -benchtime 0.2s $(BENCHED); fi

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The packages that have benchmarks.
BENCHED = $(shell grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u)

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(MAKEFILE_LIST))

build: ## a static binary, bin/gatehouse
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X gatehouse/command.version=$(VERSION)' -o bin/gatehouse .

test: ## installs what the tests drive (Redis, Chromium), then runs every test with the race detector (P14's three million paths without)
	./scripts/test-deps.sh
	go test -count=1 -run TestP14 ./proxy # other paths each time
	go test -race -timeout 20m ./...

test-apps: ## the gateway before real servers: PHP, nginx, Node, Python, lighttpd, Apache, Tomcat, Rack (two minutes); installs them
	./scripts/test-apps-deps.sh
	go test -race -count=1 -timeout 15m -tags apps ./e2e/servers

real-servers: ## what those servers take for /admin by themselves: writes the tables of docs/real-servers.md
	./scripts/test-apps-deps.sh
	go test -count=1 -timeout 15m -v -tags apps -run TestServers ./e2e/servers -docs $(CURDIR)/docs

bench: ## the benchmarks, briefly
	@if [ -z "$(BENCHED)" ]; then echo 'no package has benchmarks'; else go test -run '^$$' -bench . -benchmem -benchtime 0.2s $(BENCHED); fi

stress: ## the races of sessions, 10,000 rounds each (ten minutes)
	./scripts/test-deps.sh
	go test -race -timeout 60m -count 1 -v -run 'TestS06|TestS07|TestChange|TestNothingIsLeftBehind' ./session -stress-rounds 10000 -import-rounds 10000 -crowd 1000

faults: ## Redis failing in every way under load, for 30 s each, and failovers (ten minutes)
	./scripts/test-deps.sh
	go test -timeout 60m -count 1 -parallel 1 -v -run 'TestFaults|TestFailover' ./e2e -fault-length 30s

replicas: ## how long a revocation takes to the other replica, over 10,000 logouts
	./scripts/test-deps.sh
	go test -timeout 30m -count 1 -v -run TestRevocationReachesTheOtherReplica ./e2e -replica-rounds 10000

bench-sessions: ## sessions by number, up to a million (some minutes): writes docs/sessions-scale.md and .svg
	./scripts/test-deps.sh
	go test -count=1 -timeout 1h -v -run TestSessionsByNumber ./bench/sessions -sizes 1000,10000,100000,1000000 -docs $(CURDIR)/docs

SOAK ?= 20m
soak: ## two gateways, 500 visitors, Redis killed every minute, for SOAK=20m: is anything growing, is anybody mistaken for another
	./scripts/test-deps.sh
	go test -count=1 -timeout 0 -v -run TestSoak ./bench/soak -duration $(SOAK)

abuse: ## slow clients, HTTP/2 floods, huge headers, a flood of logins, h2spec, at full size (half an hour): docs/abuse.md
	./scripts/test-deps.sh
	go test -count=1 -timeout 2h -parallel 1 -tags h2spec -v ./bench/abuse -full

# h2spec is a program for tests, in a module of its own (bench/abuse/h2spec), and no dependency of the gateway.
h2spec: ## h2spec against the TLS listener, and against net/http itself (a minute, mostly waiting)
	go test -count=1 -tags h2spec -v -run TestH2spec ./bench/abuse

limits: ## 10 GB streamed each way, 10,000 idle connections, 1,000 WebSockets (some minutes; 20,000 open files): docs/limits.md
	go test -count=1 -timeout 1h -v ./bench/limits -bytes 10000000000 -idle 10000 -websockets 1000 -samples 2000

fuzz: ## every fuzz target, FUZZTIME=1m each (half an hour)
	./scripts/fuzz.sh

sbom: build ## what bin/gatehouse is made of: bin/gatehouse.sbom.txt
	./scripts/sbom.sh

lint: ## gofmt, go vet, staticcheck, gosec, go mod verify
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	go -C scripts/gosec build -o $(CURDIR)/bin/gosec .
	./bin/gosec
	go mod verify
	go vet -tags apps ./e2e/servers
	go tool staticcheck -tags apps ./e2e/servers

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

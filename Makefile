# make            says what there is to make
# make demo       runs examples/quickstart in the foreground; SECONDS=20 ends it by itself
# make test       the whole test suite
#
# The first call makes .venv and installs into it; later calls need no network. PYTHON=... picks the
# interpreter, otherwise the newest of those on PATH that is 3.11 or later.

SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PYTHON ?=
SECONDS ?= 0
N ?= 1000
ARGS ?=

# Hundreds of daemons and workers are started here; an environment that forbids Python to keep what it has compiled
# would make each of them compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

# A version manager's shim can be on PATH without a Python behind it, so each one is asked.
define FIND_PYTHON
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
        command -v "$$python"; exit 0; \
    fi; \
done; \
echo "cannot set up $(VENV): none of $(or $(PYTHON),python3 python3.13 python3.12 python3.11)" \
    "is Python 3.11 or later (say which: make PYTHON=/path/to/python3.12)" >&2; exit 1
endef

.PHONY: help setup demo test check lint format types imports fast seeds wheel clean

help: ## what there is to make
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(STAMP) ## the virtual environment .venv, with everything that development needs

# pip learned dependency groups (PEP 735) in 25.1; the one that comes with Python may be older.
$(STAMP): pyproject.toml
	@echo "== setting up $(VENV)"
	@python=$$($(FIND_PYTHON)) && "$$python" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

demo: $(STAMP) ## the quickstart tree, for a person; SECONDS=20 ends it by itself
	@$(BIN)/python examples/quickstart/demo.py --seconds $(SECONDS)

test: $(STAMP) ## the whole test suite; ARGS=... goes to pytest
	@$(BIN)/python -m pytest $(ARGS)

check: lint types imports fast ## what should pass before a commit

lint: $(STAMP) ## formatting and ruff
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check

format: $(STAMP) ## formats every file in place
	@$(BIN)/ruff format

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

imports: $(STAMP) ## the import law
	@$(BIN)/lint-imports --no-cache

fast: $(STAMP) ## the tests that take no time
	@$(BIN)/python -m pytest -m "not slow and not process and not systemd and not nodes"

seeds: $(STAMP) ## N=1000 simulated histories of one node, and a tenth as many of fleets
	@$(BIN)/python -m supervisord_ng.sim.run --quiet --seeds $(N)
	@$(BIN)/python -m supervisord_ng.sim.fleet --quiet --seeds $$(( ($(N) + 9) / 10 ))

wheel: $(STAMP) ## what users install, and its sources, into dist/
	@$(BIN)/hatchling build -d dist

clean: ## removes what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

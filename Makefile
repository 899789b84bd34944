# Everything needed is Python 3.11 or newer, and make. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BENCH ?= 3 0.5
EXAMPLES := $(patsubst %/pyproject.toml,%,$(wildcard examples/*/pyproject.toml))
MANIFESTS := pyproject.toml setup.py $(EXAMPLES:%=%/pyproject.toml)

# What differs by database: the units, and what is asked of them. The storage's own tests run on both
# in one go. Left out is what would make a database for each of its many examples.
ON_POSTGRES := tests/core/tower tests/core/chat tests/core/events tests/schema tests/contract \
	tests/core/alignment tests/core/memory tests/core/health tests/core/tools/test_calls.py \
	tests/core/tools/test_governor.py \
	--ignore tests/core/chat/test_counters.py \
	--ignore tests/core/tower/test_journal_properties.py \
	--ignore tests/core/tower/test_tower_properties.py

# An example is a project of its own: its tools run in its folder, with its configuration.
each-example = set -e; for example in $(EXAMPLES); do (cd $$example && $(1)); done

.DEFAULT_GOAL := help
.PHONY: help run test check lint types nightly bench vendor-graphiql clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.installed ## Install the server and the example, start the demo
	$(BIN)/mission demo

test: $(VENV)/.installed-test types ## Run all tests; ARGS="-k name" runs some of those in tests/
	$(BIN)/python -m pytest $(ARGS)
	$(if $(ARGS),,MISSION_TEST_DATABASE=postgres $(BIN)/python -m pytest $(ON_POSTGRES))
	$(if $(ARGS),,$(call each-example,../../$(BIN)/python -m pytest))

check: lint test ## All that CI checks: style, types, layers, tests

lint: $(VENV)/.installed-test types ## The part of check that runs no test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(call each-example,MYPYPATH=../../.types ../../$(BIN)/mypy)
	$(BIN)/pyright
	PYTHONPATH=.types $(BIN)/lint-imports

nightly: ## The tests at full length, and the benches that need a million of something
	MISSION_TEST_PROFILE=nightly PYTEST_ADDOPTS="--timeout 3600" $(MAKE) test
	$(BIN)/python bench/search.py
	$(BIN)/python bench/rest.py $(BENCH) 1000000

bench: $(VENV)/.installed-test ## Measure what things cost; BENCH="rounds seconds" says how long
	$(BIN)/python bench/tower.py $(BENCH)
	$(BIN)/python bench/graphql.py $(BENCH)
	$(BIN)/python bench/rest.py $(BENCH)
	$(BIN)/python bench/probes.py $(BENCH)

vendor-graphiql: $(VENV)/.installed-test ## Fetch GraphiQL's files again (needs npm)
	$(BIN)/python scripts/vendor_graphiql.py

clean: ## Remove the environment and every generated file; data folders stay
	rm -rf $(VENV) .types build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Type checkers and import-linter cannot see through an editable install, so they read the packages
# under their installed names from links. Made anew each time: a stale link would hide a deletion.
types:
	@rm -rf .types && mkdir -p .types/mission_system
	@cd .types/mission_system && ln -s ../../core ../../plugins ../../schema ../../web . && \
		for path in ../../core/_root/*; do \
			case $$path in */__pycache__) ;; *) ln -s $$path . ;; esac; done

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "There is no $(PYTHON). Install Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
		"Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu:" \
		"apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(MANIFESTS) | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) -e . -e examples/code-analysis
	@touch $@

$(VENV)/.installed-test: $(MANIFESTS) | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need ..."
	@$(PIP) -e '.[test]' $(EXAMPLES:%=-e %)
	@touch $(VENV)/.installed $@

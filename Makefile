# Two commands: `make demo` and `make test`. Each sets up what it needs.
# `make test-exports` loads exported configs with trainers that do not fit beside the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

TRAINERS := $(notdir $(basename $(wildcard tests/exporters/requirements/*.txt)))

.PHONY: demo test check format clean docs test-exports
.DELETE_ON_ERROR:

# A CPU build of the tested torch is taken where an index offers one that its version satisfies.
# Half of an installation's CPU time compiles 24,000 files, so all cores do it afterwards; some packages ship
# templates that are no Python, which pip passes over too.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("mixopt needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) torch
	$(BIN)/python $(INSTALL) -e ".[dev]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" ./.ci/demo.sh

# Few processes, and one thread in each: tests are small, and threads of several would wait for each other.
# Files go out in the order of collection, which tests/conftest.py makes that of what they cost.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder

test: $(READY)
	$(PYTEST)

# Trainers whose pins fight ours, each in an environment of its own.
test-exports: $(TRAINERS:%=test-export-%)

$(TRAINERS:%=.venv-exports/%/.ready): .venv-exports/%/.ready: tests/exporters/requirements/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: $(TRAINERS:%=test-export-%)
$(TRAINERS:%=test-export-%): test-export-%: .venv-exports/%/.ready
	PYTHONPATH=. .venv-exports/$*/bin/python -m pytest -rs -o filterwarnings=default tests/exporters/test_$*.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTEST)

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-exports build mixopt-runs mlruns mlflow.db .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

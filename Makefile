# make run    environment in .venv, install, the packaged search `superhard-quick`, ranked table, report
# make test   environment, ruff, mypy and the whole test suite, in TEST_PROCESSES=2 processes
# make wheel  the wheel, installed with torch alone into an empty environment, runs `superhard-quick` (10 minutes)
# Only Python 3.11-3.13 and a package index are needed. PYTHON=python3.12 chooses another interpreter.

SHELL := /bin/bash
START := $(shell date +%s)
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= runs/superhard-quick-$(shell date +%Y%m%d-%H%M%S)
PIP := $(BIN)/python -m pip --disable-pip-version-check
export OMP_NUM_THREADS ?= 1
TEST_PROCESSES ?= 2

.PHONY: run test wheel lint environment clean

run: $(VENV)/.installed
	$(BIN)/inverse run superhard-quick --output $(OUTPUT) --started-at $(START)

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

wheel: $(VENV)/.installed-test
	INVERSE_TEST_WHEEL=1 $(BIN)/python -m pytest tests/integration/test_wheel.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

environment: $(VENV)/.installed-test

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 with venv was not found; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (about 2 GB, 2-4 minutes the first time) ..."
	$(PIP) install --quiet --constraint constraints.txt --editable ".[sevenn]"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable ".[sevenn,test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info

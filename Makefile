# `make demo` and `make test` work as the first command in a fresh clone: all they need is Python 3.11 or later.

.DEFAULT_GOAL := help
.PHONY: help demo test check docs bench clean
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH

FIND_PYTHON = for p in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	if $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done
PYTHON ?= $(shell $(FIND_PYTHON))
BIN := .venv/bin

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed  ## train on the first part of the embedded market, trade the rest on paper
	$(BIN)/ares train --symbol ETHUSDT --seed 1 --edge 0.3 --bars 3000 --folds 3 --no-placebos
	$(BIN)/ares paper --symbol ETHUSDT --exchange SIM --seed 1 --edge 0.3 --bars 5000 --model data/models

test: .venv/installed-test  ## the whole test suite
	$(BIN)/python -m pytest

check: .venv/installed-test  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed-docs  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/installed-bench  ## every benchmark beside its peers
	$(BIN)/python -m benchmarks

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "ares needs Python 3.11 or later with the venv module, and none was found." >&2; \
		echo "Debian, Ubuntu: apt-get install python3 python3-venv    macOS: brew install python    any: make PYTHON=/path/to/python ..." >&2; \
		exit 1; fi
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/installed-%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

clean:  ## remove the virtual environment and everything built
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache

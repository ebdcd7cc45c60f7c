# Every target sets up .venv first, when something changed. `make` alone lists them.
.PHONY: help setup quickstart test unit lint docs
.DEFAULT_GOAL := help

python := .venv/bin/python

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: ## make .venv and install Primus into it
	@scripts/setup.sh

quickstart: setup ## train, resume and compare two tiny models on this machine's CPU
	@$(python) scripts/quickstart.py

test: lint ## everything that CI runs: lint, types and all tests
	@scripts/test_packages.sh
	@$(python) -m pytest

unit: setup ## the fast tests
	@$(python) -m pytest -m "not real"

docs: setup ## the guide as a site, in build/site
	@$(python) -m mkdocs build --strict
	@echo "Open build/site/index.html"

lint: setup ## ruff and mypy
	@$(python) -m ruff check .
	@$(python) -m ruff format --check --quiet .
	@$(python) -m mypy

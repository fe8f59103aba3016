# Everything a person needs: only Python >= 3.11 with pip (and make) has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PYTEST_ARGS ?=

.PHONY: help demo test lint format man bench bench-quick bench-tuning bench-metrics bench-memory bench-backlog bench-kills lock clean
help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements/dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spooler needs Python 3.11 or newer; say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## run the main job: a spool drained over LMTP, ends with a table of every recipient
	$(BIN)/python -m bench.demo

test: $(STAMP) ## the whole test suite, Postgres included
	$(BIN)/python -m pytest -n 3 -m "not alone" $(PYTEST_ARGS) || [ $$? = 5 ] # none of those that were asked for
	$(BIN)/python -m pytest -m alone $(PYTEST_ARGS) || [ $$? = 5 ]

lint: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy deploy/postfix/move-queue
	$(BIN)/lint-imports --no-cache

format: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

man: $(STAMP) ## list the commands and options anew in the manual page
	$(BIN)/python -m tests.cli.manual

bench: $(STAMP) ## measure all, half an hour; results go to bench/results/ and into README
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench --results bench/results

bench-quick: $(STAMP) ## measure what tells most, a few minutes; results are only printed
	$(BIN)/python -m bench --size quick --rounds 2

bench-tuning: $(STAMP) ## measure what adapts against fixed numbers of sessions, ten minutes
	$(BIN)/python -m bench.tuning

bench-metrics: $(STAMP) ## measure what metrics cost, five minutes
	$(BIN)/python -m bench.metrics

bench-memory: $(STAMP) ## measure the memory of workers alone
	$(BIN)/python -m bench.memory

bench-backlog: $(STAMP) ## measure claims from up to 5 M recipients, half an hour and 20 GB of disk
	$(BIN)/python -m bench.claiming

bench-kills: $(STAMP) ## kill workers under load, 500 times on each database, an hour
	$(BIN)/python -m bench.kills

lock: ## renew the locks (needs uv)
	uv pip compile pyproject.toml --universal --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/run.lock
	uv pip compile pyproject.toml --group dev --universal --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/dev.lock

clean: ## remove what the targets above made
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache

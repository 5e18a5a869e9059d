# Two commands are all a fresh machine needs: `make demo` and `make test`.

PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check docs format clean

demo: .venv/installed
	$(BIN)/python examples/digits_backdoor.py

test: .venv/installed
	$(BIN)/pytest

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest

docs: .venv/installed
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/pages.py site

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs site .pytest_cache .ruff_cache

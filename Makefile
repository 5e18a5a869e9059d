# Two commands are all a fresh machine needs: `make demo` and `make test`.

PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check docs format clean

demo: .venv/installed
	rm -rf runs/demo && mkdir -p runs/demo
	cd runs/demo && ../../$(BIN)/apd train
	cd runs/demo && ../../$(BIN)/apd score inputs.npz --report report.html
	cd runs/demo && ../../$(BIN)/apd evaluate inputs.npz --labels is_anomaly

test: .venv/developing
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: .venv/developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest --numprocesses 2 --dist loadfile

docs: .venv/developing
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/pages.py site

format: .venv/developing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[report]'
	touch $@

.venv/developing: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv site .pytest_cache .ruff_cache

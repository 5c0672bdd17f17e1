# make demo   installs into .venv and runs an experiment on the simulated microscope, from the scan to one report
# make test   installs into .venv and runs all checks and tests
# make docs   builds the documentation
# make bench  runs every benchmark

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test docs bench clean

demo: $(STAMP)
	$(BIN)/lucule run experiment demo --out demo
	@echo "Open demo/report.html"

test: $(STAMP)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

docs: $(STAMP)-dev
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

bench: $(STAMP)-dev
	$(BIN)/lucule bench all --out bench

clean:
	rm -rf .venv demo bench docs/_build

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[acquire]"
	@touch $@

$(STAMP)-dev: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

# Two commands do all the set-up: `make demo` and `make test`. PYTHON names the interpreter (3.10 to 3.14).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-without lint docs clean

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v[:2] < (3, 15) else "Python 3.10 to 3.14 is needed, this is %d.%d: make demo PYTHON=python3.11" % v[:2])'
	@echo "[1/3] environment    $(VENV) (only the first time: a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location -c constraints.txt torch numpy
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location -c constraints.txt -e '.[dev]'
# dgllife serves DeepChem's own graph models, which exist where DeepChem and DGL do
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt dgllife; fi
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/dc-graphsam demo

# two processes of one thread each: more threads than processors make everything slower
test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# everything that needs neither, as if DeepChem and DGL were not installed: what Python 3.12 and later have
test-without: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests --without deepchem,dgl

lint: $(STAMP)
	@$(BIN)/python -m pytest -q tests/unit/test_style.py

docs: $(STAMP)
	@$(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

clean:
	rm -rf $(VENV) build dist site *.egg-info

# `make test` and `make sweep` need nothing but make and python3 >= 3.11: the rest is installed into .venv first.
#
#   make sweep   the main job: the quickstart study, ARGS="..." for other arguments of `hrm-sweep run`
#   make test    everything in `make check`, then the tests; ARGS="-k name" for some of them
#   make check   format, lint, types, the arrows between packages, generated pages
#   make fix     format, and mend what the linter can mend
#   make docs    write the generated pages again
#   make proof   the long proofs: the package built, installed and used elsewhere
#   make bench   speed of train steps and evaluations beside a plain reading of the specification, on this machine
#   make story   one study from plan to confirmation: writes docs/story.md, its pictures and the README's part of it
#   make clean   remove .venv and all caches; studies and runs under trials/ stay

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# READY is the stamp of a finished set-up; MADE_FOR names the folder for which make began one. A set-up that was
# interrupted, whose Python is gone, or whose checkout was moved (scripts in .venv hold absolute paths) starts from
# nothing. A .venv that make did not begin is only added to.
READY := $(VENV)/.ready
MADE_FOR := $(VENV)/.made-for

$(shell test -x $(BIN)/python && test "$$(cat $(MADE_FOR) 2>/dev/null || pwd -P)" = "$$(pwd -P)" || rm -f $(READY))

.PHONY: sweep test check fix docs proof bench story clean

sweep: $(READY)
	$(BIN)/hrm-sweep run $(ARGS)

test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile $(ARGS)

check: $(READY)
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m ruff check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

fix: $(READY)
	$(BIN)/python -m ruff format
	$(BIN)/python -m ruff check --fix

docs: $(READY)
	$(BIN)/python docs/generate.py

proof: $(READY)
	$(BIN)/python -m pytest -m proof $(ARGS)

bench: $(READY)
	$(BIN)/python tests/benchmarks/speed.py $(ARGS)

story: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/story.py $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# torch goes first and alone: by itself it is the one build that the constraint names, whatever else asks for it.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); hrm-sweep needs Python 3.11 or newer;" \
			"install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make virtual environments (no venv module);" \
			"on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@if test -e $(MADE_FOR) && ! test -e $(READY); then rm -rf $(VENV); fi
	@if ! test -d $(VENV); then mkdir $(VENV) && pwd -P > $(MADE_FOR); fi
	@rm -f $(READY)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

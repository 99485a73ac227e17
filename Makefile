# Everything a person needs, on a machine with Python >= 3.10, git and make. Plain enough for the make that macOS ships.

PYTHON ?=
VENV = .venv
STAMP = $(VENV)/.installed
TEST_STAMP = $(VENV)/.test-installed
SUITABLE = import sys, platform; \
	sys.exit(2 if sys.version_info < (3, 10) else 3 if sys.version_info >= (3, 14) else \
	4 if sys.platform == "darwin" and platform.machine() != "arm64" else 0)

.PHONY: help install demo test lint doctor clean

help:
	@echo "make install   set up $(VENV) with everything needed (the other targets do it themselves)"
	@echo "make demo      prepare the built-in stories and run two experiments of 8 s a run: no network, no key"
	@echo "make test      run the tests"
	@echo "make lint      check style and format"
	@echo "make doctor    say what this machine has, what is missing and how to get it"
	@echo "make clean     remove $(VENV) and caches; data/ and runs/ stay"
	@echo ""
	@echo "PYTHON=/path/to/python3 chooses the Python that $(VENV) is made from (3.10 to 3.13)."

install: $(STAMP)
	@echo "Ready. Next: make demo"

# A working environment of a suitable Python is kept and only brought up to date; otherwise it is made anew.
$(STAMP): pyproject.toml
	@if [ -n '$(PYTHON)' ] || ! $(VENV)/bin/python -c '$(SUITABLE)' 2>/dev/null; then \
	  if [ -n '$(PYTHON)' ]; then set -- '$(PYTHON)'; \
	  else set -- python3.13 python3.12 python3.11 python3.10 python3; fi; \
	  chosen=; \
	  for candidate in "$$@"; do \
	    command -v "$$candidate" >/dev/null 2>&1 || continue; \
	    version=`"$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null` || continue; \
	    "$$candidate" -c '$(SUITABLE)' 2>/dev/null; \
	    case $$? in \
	      0) ;; \
	      2) reason="$$candidate is Python $$version, which is too old"; continue;; \
	      3) reason="$$candidate is Python $$version, which is too new for MLX's packages here"; continue;; \
	      4) reason="$$candidate is built for Intel Macs; MLX needs an arm64 Python"; continue;; \
	      *) reason="$$candidate does not run"; continue;; \
	    esac; \
	    if ! "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then \
	      reason="$$candidate has no venv module: on Debian and Ubuntu, sudo apt install python$$version-venv"; continue; \
	    fi; \
	    chosen=$$candidate; break; \
	  done; \
	  if [ -z "$$chosen" ]; then \
	    echo "error: no suitable Python (3.10 to 3.13): $${reason:-none of $$* runs}." >&2; \
	    echo "Install one (macOS: brew install python@3.13; Debian and Ubuntu: sudo apt install python3 python3-venv)," >&2; \
	    echo "or name it: make install PYTHON=/path/to/python3.13" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with `command -v "$$chosen"` (Python $$version)"; \
	  "$$chosen" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing packages (a minute or two the first time)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e . || { \
	  echo "error: pip could not install the packages (see above). Check the network, then run make install again." >&2; \
	  exit 1; }
	@touch $(STAMP)

# Tests and benchmarks compare with PyTorch, which ordinary use does not need.
$(TEST_STAMP): $(STAMP)
	@echo "Installing what the tests need (PyTorch among it)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]' || { \
	  echo "error: pip could not install the packages (see above). Check the network, then run make again." >&2; \
	  exit 1; }
	@touch $(TEST_STAMP)

demo: $(STAMP)
	$(VENV)/bin/python prepare.py --dataset stories
	$(VENV)/bin/python -m mlx_autoresearch.loop --agent search --dataset stories --budget 8 --experiments 2 \
	  --tag demo-`date +%Y%m%d-%H%M%S`
	@echo "To type these commands yourself, first: source $(VENV)/bin/activate"

test: $(TEST_STAMP)
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

lint: $(TEST_STAMP)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

doctor: $(STAMP)
	@$(VENV)/bin/python -m mlx_autoresearch.doctor

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

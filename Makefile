# make demo   a segmented RGB-thermal video, an ONNX file and a parity report; no GPU needed
# make test   format, lint, types and tests, without the slow ones; 15 minutes on two cores
# make test-all  the same with the slow ones: published networks, training to the end
# All make .venv and install into it what they need.  make clean removes what they made.
#
# torch is named in every install, so that no other package replaces it by another build.
#
# PYTHON     interpreter for the environment (3.10 to 3.12)
# TORCH      what to install as torch; on a machine without a GPU the CPU build is much smaller
# SOD_METRICS  what to install without its dependencies: tests compare with it
# NVCC       what to install where there is no nvcc; the tests compile the CUDA sources
# PIP_ARGS   passed to every pip install, for example --extra-index-url and an index of CPU builds

PYTHON   ?= python3
TORCH    ?= torch==2.13.0
PIP_ARGS ?=
# The CUDA compiler, for machines that have none of their own
NVCC     ?= nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-cccl
# The figures of salient objects that ours are held against; without its dependencies, because it
# holds numpy and OpenCV back
SOD_METRICS ?= pysodmetrics==1.6.2
VENV     := .venv
BIN      := $(VENV)/bin
PIP      := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
# A process of pytest-xdist that dies ends the run, which would else wait for ever.  There are as many
# processes as cores, so each computes with one thread, and what has more sleeps when it waits.
PYTEST   := OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile \
            --no-loadscope-reorder --max-worker-restart 0

.PHONY: demo test test-all format lint types tests all-tests clean

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py --out demo

test: lint types tests

test-all: lint types all-tests

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) "$(TORCH)" -e ".[export]"
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) "$(TORCH)" -e ".[dev]"
	($(PIP) scikit-learn && $(PIP) --no-deps $(SOD_METRICS)) || echo "no PySODMetrics: our figures are not held against it"
	command -v nvcc > /dev/null || $(PIP) $(NVCC) || echo "no nvcc: the CUDA sources are not compiled"
	@touch $@

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# The checker does not follow package-dir mappings, so it reads a tree of links laid out as imported.
types: $(VENV)/.test
	rm -rf build/types && mkdir -p build/types
	cp -rs "$(CURDIR)/differseg" build/types/
	cp -rs "$(CURDIR)/export" "$(CURDIR)/runtime" "$(CURDIR)/calibration" build/types/differseg/
	cd build/types && "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" -p differseg

tests: $(VENV)/.test
	$(PYTEST) -m "not slow"

all-tests: $(VENV)/.test
	$(PYTEST)

clean:
	rm -rf $(VENV) build demo .mypy_cache .pytest_cache .ruff_cache *.egg-info

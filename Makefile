# Everything here makes its own environment in .venv from Python 3.11+ and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_READY := $(VENV)/.ready-demo
READY := $(VENV)/.ready
# TORCH=cpu takes torch and torchvision without CUDA from the index that uv knows for them, or from TORCH_INDEX=URL, and
# FAISS for the CPU. What .venv was made with holds until it is made anew.
MADE_WITH := $(shell cat $(DEMO_READY) 2>/dev/null)
TORCH ?= $(MADE_WITH)
TORCH_INDEX ?=
ifneq ($(if $(wildcard $(DEMO_READY)),$(TORCH)),$(MADE_WITH))
$(warning $(VENV) was made with TORCH=$(MADE_WITH), which holds until `make clean`)
endif
WITHOUT_CUDA := --override requirements-cpu.txt $(if $(TORCH_INDEX),--index "$(TORCH_INDEX)",--torch-backend $(TORCH))
INSTALL := $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt $(if $(TORCH),$(WITHOUT_CUDA))
# Waiting threads sleep, so that two cores shared with other work are not burnt in waiting.
export OMP_WAIT_POLICY ?= passive
# Tests start hundreds of processes: without compiled modules each compiles all that it imports, and pytest rewrites every
# assertion anew in each of its processes.
unexport PYTHONDONTWRITEBYTECODE
export DRY WHEELS GPU_OUT

.PHONY: demo test test-slow fuzz cards check check-mypy check-pyright gpu gpu-tests parity results duel experiments notebooks docs clean

demo: $(DEMO_READY)
	$(BIN)/fewshot demo

# Files of tests are shared out among so many processes.
JOBS ?= 2
test: $(READY)
	$(BIN)/pytest -n $(JOBS) --no-loadscope-reorder -m "not slow and not gpu"

test-slow: $(READY)
	$(BIN)/pytest -n $(JOBS) --no-loadscope-reorder -m "slow and not gpu"

# Damaged files at every door, SECONDS each; `make test-slow` does the same for 20 or 10 seconds.
SECONDS ?= 600
fuzz: $(READY)
	FUZZ_SECONDS=$(SECONDS) $(BIN)/pytest -m slow --timeout 1200 tests/hostile/test_fuzz.py

# The two checkers of types take a core each for minutes.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs 2 --output-sync check-mypy check-pyright

check-mypy:
	$(BIN)/mypy

check-pyright:
	$(BIN)/pyright --pythonpath $(BIN)/python

# Proves and measures everything on a GPU in under nine minutes, from a plain checkout: benchmarks/README.md. DRY=1 walks
# the same code on the CPU; WHEELS=FOLDER adds what the machine lacks; GPU_OUT=FOLDER keeps the table as JSON.
gpu:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu

# The tests that need CUDA; prints each that ran.
gpu-tests: $(READY)
	$(BIN)/pytest -m gpu -rA

# Every backbone against the authors' golden outputs; GOLDEN=FOLDER checks any folder of the same form, and PEERS=FOLDER
# one of the few-shot competitors (tests/golden/peers): heads, losses and recorded steps as well.
parity: $(READY)
	$(if $(PEERS),$(BIN)/python -m benchmarks.parity_peers "$(PEERS)",$(BIN)/python benchmarks/parity.py $(if $(GOLDEN),"$(GOLDEN)",--docs docs/backbones.md))

# Real images through every backbone with weights in ../shared: embeds, adapts with ten shots, writes docs/results.md.
SHARED ?= ../shared
results: $(READY)
	$(BIN)/python benchmarks/results.py --data $(SHARED)/data --weights $(SHARED)/weights --docs docs/results.md
	$(BIN)/python benchmarks/results_picture.py --out docs/images/results.png

# Few-shot methods side by side on the same images and supports; writes docs/experiments/duel.md. About an hour.
duel: $(READY)
	$(BIN)/python -m benchmarks.duel --data $(SHARED)/data --weights $(SHARED)/weights --write

# The leakage experiment, the coverage of every interval and the certificate of detectors, by simulation, the last one
# on real images as well; writes three pages and their figures.
experiments: $(READY)
	$(BIN)/python benchmarks/leakage.py --docs docs/experiments
	$(BIN)/python benchmarks/coverage.py --docs docs/experiments
	$(BIN)/python benchmarks/certificate.py --data $(SHARED)/data --weights $(SHARED)/weights --docs docs/experiments

# What is listed of our backbones without loading them, written from the backbones; a test compares.
cards: $(READY)
	$(BIN)/python -m fewshot.embeddings.backbones.cards

# Runs every notebook from top to bottom on the demo's data; the executed copies are shown on the site.
notebooks: $(VENV)/.ready-docs
	$(BIN)/jupyter-nbconvert --to notebook --execute --ExecutePreprocessor.timeout=600 --output-dir build/notebooks notebooks/*.ipynb

docs: notebooks
	$(BIN)/jupyter-nbconvert --to markdown --output-dir docs/notebooks build/notebooks/*.ipynb
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What the demo needs, and no more: no tools of development, no service.
$(DEMO_READY): setup.cfg constraints.txt requirements-cpu.txt
	$(PYTHON) -c 'import sys; sys.exit("fewshot needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@echo 'installing fewshot into $(VENV): about $(if $(TORCH),1.6 GB,7.8 GB; make demo TORCH=cpu takes about 1.6 GB, without CUDA)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv -c constraints.txt
	$(INSTALL) -e '.[demo]'
	echo '$(TORCH)' > $@

$(READY): $(DEMO_READY)
	@echo 'installing the tools of development into $(VENV): about 0.6 GB'
	$(INSTALL) --compile-bytecode -e '.[demo,dev,serve,c2pa]'
	touch $@

$(VENV)/.ready-docs: $(READY)
	$(INSTALL) -e '.[demo,docs]'
	touch $@

clean:
	rm -rf $(VENV) demo build site docs/notebooks notebooks/demo *.egg-info

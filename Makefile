# Two commands: `make demo` runs the main job on small synthetic archives, `make test` runs the tests.
# Both build their own .venv first and need Python 3.11 or newer, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
OUTER_PATH := $(PATH)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
READY := $(VENV)/ready

.PHONY: help setup demo test fast cluster coverage soak lint format docs generate lock clean

help:
	@echo "make setup     .venv with the locked packages and headwater; the other targets do it first"
	@echo "make demo      the whole river on synthetic archives, within ten minutes on two cores"
	@echo "make test      all tests;  make fast: those that take seconds"
	@echo "make cluster   the tests on a real SLURM: the one at hand or, as root on Debian, one that they start"
	@echo "make coverage  all tests, and how much of the library they run; weekly"
	@echo "make soak      more kills, faults and benchmarks than the daily tests have, with a table at the end; weekly"
	@echo "make lint      ruff, codespell, snakefmt, snakemake --lint;  make format: mend what they can"
	@echo "make docs      the documentation as a site, in site/"
	@echo "make generate  envs/, the config schema and the key table of config/README.md, from their sources"
	@echo "make lock      requirements.lock from pyproject.toml, by the locked uv; versions stay where they can"

setup: $(READY)

# `ready` is written last, so the next make continues an installation that was interrupted; the Python is looked for outside
# .venv, where an old one may be left
$(READY): requirements.lock envs/install.py
	@export PATH="$(OUTER_PATH)"; $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
	  || { echo "headwater needs Python 3.11 or newer, which $(PYTHON) is not; say make PYTHON=/path/to/python3.11 setup"; exit 1; }; \
	$(PYTHON) envs/install.py --venv $(VENV)

# the lock says that one demo runs here at a time, so a lock that a killed one left behind may be taken away
demo: $(READY)
	@mkdir -p .snakemake; exec 9> .snakemake/demo.lock; \
	python -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2> /dev/null \
	  || { echo "another make demo is at work in this folder; wait for it, or stop it"; exit 1; }; \
	snakemake --unlock > /dev/null 2>&1 || snakemake --unlock; \
	snakemake

# a file's tests share what is made for them, so they stay together; tests/conftest.py puts the longest first
# one thread each: two would fight for the cores that the other tests have
TESTS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m pytest --dist loadfile --no-loadscope-reorder --durations 15

test: $(READY)
	$(TESTS) -n 2

fast: $(READY)
	$(TESTS) -n 2 -m "not slow"

coverage: $(READY)
	coverage erase
	$(TESTS) -n 2 --cov --cov-report=term

soak: $(READY)
	$(TESTS) -n 2 -m "soak and not cluster"
	$(on_slurm) python -m pytest -m "soak and cluster" tests/cluster

# the packages are installed where that can be done; elsewhere the tests use the cluster at hand, or say why they are skipped
define on_slurm
if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && ! command -v slurmctld > /dev/null; then \
  python tests/cluster/slurm.py install || echo "SLURM's Debian packages are not to be had here"; \
fi; \
if ! timeout 10 scontrol ping > /dev/null 2>&1 && python tests/cluster/slurm.py start; then \
  trap "python tests/cluster/slurm.py stop" EXIT; \
fi;
endef

# side by side they can be in each other's way on a small machine, so what fails is tried once more alone
cluster: $(READY)
	$(on_slurm) $(TESTS) -n 4 -m "cluster and not soak" tests/cluster || \
	{ echo "once more, one at a time, what failed:" && python -m pytest -m "cluster and not soak" --last-failed tests/cluster; }

lint: $(READY)
	ruff check .
	ruff format --check .
	codespell
	snakefmt --check Snakefile workflow
	snakemake --lint
	python scripts/generate.py --check

format: $(READY)
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

generate: $(READY)
	python scripts/generate.py

lock: $(READY)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-strip-extras \
	  --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf results/demo data/twins
	find logs -mindepth 1 -maxdepth 1 ! -name controller -exec rm -rf {} + 2> /dev/null || true

# Two commands do everything on a machine with Python >= 3.11 and make: `make run`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Snakemake starts Python by its path without quoting it.
$(if $(word 2,$(CURDIR)),$(error dalle-bench cannot work in a folder whose path has a space: $(CURDIR)))

export PATH := $(abspath $(BIN)):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: run test readme lint format lock torture bench bench-data bench-eval bench-human bench-sampling bench-train clean

# A killed run (kill -9, power) leaves its lock: it goes if no Snakemake and none of its jobs is left. Files are written
# whole or not at all, so going on over "incomplete" ones is safe.
run: $(READY)
	@pgrep -f 'bin/[s]nakemake|-m [s]nakemake|[s]nakemake/scripts/' > /dev/null 2>&1; test $$? -ne 1 || rm -rf .snakemake/locks
	python -m workflow.run --cores all --rerun-incomplete

test: $(READY)
	OMP_NUM_THREADS=1 python -m pytest --numprocesses 2 --dist loadfile --max-worker-restart 0

# Writes the marked numbers of README.md, and docs/numbers.json, from finished runs.
RESULTS ?= results/scenes
readme: $(READY)
	python -m workflow.readme $(RESULTS)

# All of them, one after the other: the better part of an hour.
bench: bench-data bench-train bench-sampling bench-eval bench-human

# What bringing photographs costs here, beside torchvision and plain datasets: two minutes.
bench-data: $(READY)
	python -m workflow.benchmarks.data

# What a training step costs here, beside dense attention; with DALLE_PYTORCH also beside DALLE-pytorch.
bench-train: $(READY)
	python -m workflow.benchmarks.training $(if $(DALLE_PYTORCH),--dalle-pytorch $(DALLE_PYTORCH))

# What figure 9 costs here, beside torch-fidelity: a quarter of an hour on one core. Options are in the script.
bench-eval: $(READY)
	python -m workflow.benchmarks.eval_sweep

# What intervals of human evaluation promise, on a thousand simulated panels: two minutes on one core.
bench-human: $(READY)
	python -m workflow.benchmarks.human_panel

# What drawing candidates costs here, beside a plain decode; with DALLE_PYTORCH=path/to/python also beside DALLE-pytorch.
bench-sampling: $(READY)
	python -m workflow.benchmarks.sampling $(if $(DALLE_PYTORCH),--dalle-pytorch $(DALLE_PYTORCH))

# Kills, starves and lies to the smoke experiment, which must end the same: a quarter of an hour on two cores. Then runs
# it on a Slurm that is started here, if Debian's is installed.
torture: $(READY)
	python -m workflow.torture
	python -m pytest tests/test_slurm.py --slurm

lint: $(READY)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(READY)
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

# The marker is made last, so an installation that was interrupted is done again.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("dalle-bench needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	touch $(READY)

# Needs uv. The lock holds pins and hashes only: no address of a registry.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet --output-file requirements.lock
	$(PYTHON) workflow/scripts/conda_twin.py

clean:
	rm -rf results .snakemake mlruns mlflow.db

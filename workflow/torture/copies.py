"""Snakemake in a copy of the project: what tests and ``python -m workflow.torture`` start, break and throw away."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dalle.provenance import ROOT

SMOKE = ("--configfile", "workflow/config/smoke.yaml")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]


def environment() -> dict[str, str]:
    """Ours without what a user's shell may say about Snakemake, and with MLflow's store in the folder of the run."""
    silent = {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEMAKE", "MLFLOW"))}
    return silent | {"PYTHONDONTWRITEBYTECODE": "1"}


def copy_project(folder: Path) -> Path:
    """The project as a clone would have it: what git tracks or would track; where git cannot say, all but results."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(asked, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (FileNotFoundError, subprocess.CalledProcessError):
        made = shutil.ignore_patterns(".venv", ".git", "results", ".snakemake", "mlruns", "mlflow.db*", "__pycache__")
        return Path(shutil.copytree(ROOT, folder, ignore=made, dirs_exist_ok=True))
    for name in listed:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder

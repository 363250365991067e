"""Snakemake in a copy of the project, and the smoke experiment: run once, for all the tests that look at its files."""

import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from workflow.torture.copies import SMOKE, command, copy_project, environment


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Snakemake in ``folder``, waited for."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def snakemake(folder: Path, *arguments: str) -> str:
    """What a call that succeeds prints, both streams."""
    ran = call(folder, *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Path, str]:
    """A copy of the project in which the smoke experiment has run, and what that printed. Not to be written into.

    The processes of one test run (``make test``) share it: the first runs it, the others wait.
    """
    own = tmp_path_factory.getbasetemp()
    place = (own if worker_id == "master" else own.parent) / "smoke"
    printed = place.with_suffix(".txt")
    with FileLock(place.with_suffix(".lock")):
        if not printed.exists():
            shutil.rmtree(place, ignore_errors=True)  # of a process whose run failed
            printed.write_text(snakemake(copy_project(place), *SMOKE), encoding="utf-8")
    return place, printed.read_text(encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What takes minutes is asked for."""
    parser.addoption("--slurm", action="store_true", help="run tests/test_slurm.py, which starts a Slurm here")

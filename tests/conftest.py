"""Snakemake in a copy of the project, and the smoke experiment: run once, for all the tests that look at its files."""

import subprocess
from pathlib import Path

import pytest

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
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the project in which the smoke experiment has run, and what that printed. Not to be written into."""
    folder = copy_project(tmp_path_factory.mktemp("smoke"))
    return folder, snakemake(folder, *SMOKE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What takes minutes is asked for."""
    parser.addoption("--slurm", action="store_true", help="run tests/test_slurm.py, which starts a Slurm here")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In several processes (``make test``) a file's tests stay together, and so do the files that share ``smoke``."""
    sharing = {item.path for item in items if "smoke" in item.fixturenames}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("smoke" if item.path in sharing else item.path.stem))

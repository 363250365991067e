"""How many machines a job has, and what is started on them, without a Slurm: tests/test_slurm.py has one."""

import sys
from pathlib import Path

import pytest

from dalle.training.nodes import environment, num_nodes, torchrun


@pytest.fixture
def in_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in job 7; the file is what answers for squeue."""
    squeue = tmp_path / "squeue"
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return squeue


def answer(squeue: Path, words: str) -> None:
    squeue.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
    squeue.chmod(0o755)


def test_outside_slurm_there_is_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert num_nodes() == 1


def test_slurm_is_asked_for_this_job(in_slurm: Path) -> None:
    answer(in_slurm, 'test "$3" = 7 && echo 3')
    assert num_nodes() == 3


def test_whoever_started_all_processes_has_counted_them(in_slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(in_slurm, "echo 3")
    monkeypatch.setenv("WORLD_SIZE", "24")
    assert num_nodes() == 1


def test_a_job_that_slurm_does_not_know_is_no_job(in_slurm: Path) -> None:
    answer(in_slurm, "echo Invalid job id specified >&2; exit 1")
    with pytest.raises(ValueError, match="SLURM_JOB_ID=7: squeue knows of no such job: Invalid job id"):
        num_nodes()


def test_one_machine_needs_no_scheduler() -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=8", "--standalone"]
    assert torchrun(["-m", "a"], 8) == [*run, "-m", "a"]


def test_torchrun_starts_once_on_each_of_several(in_slurm: Path) -> None:
    command = torchrun(["-m", "a"], 8, nodes=4)
    assert command[:5] == ["srun", "--overlap", "--nodes=4", "--ntasks=4", "--ntasks-per-node=1"]
    assert {"--nnodes=4", "--nproc-per-node=8", "--rdzv-id=7"} <= set(command)
    assert command[-2:] == ["-m", "a"]


def test_a_step_inside_inherits_nothing_of_the_one_outside() -> None:
    variables = {"SLURM_JOB_ID": "7", "SLURM_CONF": "there", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "HOME": "/"}
    assert environment(variables) == {"SLURM_JOB_ID": "7", "SLURM_CONF": "there", "HOME": "/"}

"""A job that is one process trains in two, and what they say and raise comes back to it."""

import sys
from pathlib import Path

import pytest
import torch
from little_stage import train

from dalle.config.distributed import Distributed
from dalle.config.training import Optimisation
from dalle.training.launch import in_processes, main, processes_to_start

SETTINGS = Optimisation(steps=10, batch_size=16, learning_rate=1e-2, warmup=2)


def test_distributed_processes_are_started_and_end_where_one_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pair = SETTINGS.model_copy(update={"distributed": Distributed(processes=2, kind="fsdp")})
    found = train(tmp_path / "two", pair)
    said = capfd.readouterr().err
    expected = train(tmp_path / "one", SETTINGS)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-5)
    assert "little 10/10" in said
    assert said.count("10/10") == 1  # one of the two speaks
    assert "\r" not in said


def test_a_job_needs_one_process_for_each_gpu_unless_it_is_told_or_they_are_there(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for gpus, count in ((0, 1), (1, 1), (8, 8)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        assert processes_to_start(Distributed()) == count
    assert processes_to_start(Distributed(processes=3)) == 3
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert processes_to_start(Distributed(processes=3)) == 1


def refuse(number: int) -> None:
    raise ValueError(f"{number} cannot be")


def test_what_a_process_refuses_is_written_down(tmp_path: Path, monkeypatch) -> None:
    torch.save((refuse, (3,)), tmp_path / "call.pt")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="3 cannot be"):
        main(tmp_path)
    assert (tmp_path / "error.txt").read_text() == "ValueError\n3 cannot be"


def write_error(command: list[str], text: str) -> list[str]:
    """A command that stands for torchrun and leaves ``text`` as its error."""
    code = f"import sys, pathlib; pathlib.Path(sys.argv[-1], 'error.txt').write_text({text!r}); sys.exit(1)"
    return [sys.executable, "-c", code, command[-1]]


def test_what_a_process_refuses_is_refused_in_the_job(monkeypatch) -> None:
    import subprocess

    from dalle.training import launch

    popen = subprocess.Popen
    text = "FloatingPointError\nstage little, step 3: loss is nan"
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **rest: popen(write_error(command, text), **rest))
    with pytest.raises(FloatingPointError, match="stage little, step 3: loss is nan"):
        in_processes(2, refuse, 1)

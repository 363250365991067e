"""A checkpoint is read back whole, and only by the training that wrote it. More in test_resume.py."""

from pathlib import Path

import pytest
import torch

from dalle.config.distributed import Distributed
from dalle.config.training import Optimisation
from dalle.training.checkpoint import Checkpoints, training_key
from dalle.training.distributed import Team

SETTINGS = Optimisation(steps=10)


def checkpoints(folder: Path, key: str = "key", keep: int = 2) -> Checkpoints:
    return Checkpoints(folder / "c.pt", key, keep, Team(Distributed()))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    state = {"model": {"weight": torch.randn(3, 2)}, "rows": [{"step": 0, "loss": 0.5}]}
    checkpoints(tmp_path).write(state, 4)
    done, again = checkpoints(tmp_path).read()
    assert torch.equal(again["model"]["weight"], state["model"]["weight"])
    assert (done, again["rows"]) == (4, state["rows"])
    assert [file.name[:11] for file in tmp_path.iterdir()] == ["c-00000004-"]


def test_the_newest_is_read_and_old_ones_go(tmp_path: Path) -> None:
    writer = checkpoints(tmp_path)
    for done in (5, 10, 100):
        writer.write({"value": done}, done)
    assert checkpoints(tmp_path).read() == (100, {"value": 100})
    assert sorted(file.name[:10] for file in tmp_path.iterdir()) == ["c-00000010", "c-00000100"]
    assert str(tmp_path / "c-00000100") in writer.last
    writer.clear()
    assert list(tmp_path.iterdir()) == []


def test_another_key_or_no_file_gives_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints(tmp_path).write({"value": 1}, 4)
    other = checkpoints(tmp_path, "another key")
    assert other.read() is None
    assert "starting anew" in caplog.text
    assert other.last == "none"
    other.write({"value": 2}, 2)  # and what is of no use goes
    assert [file.name[:11] for file in tmp_path.iterdir()] == ["c-00000002-"]
    caplog.clear()
    assert checkpoints(tmp_path / "none").read() is None
    assert not caplog.text


def test_the_key_depends_on_settings_seed_stage_processes_and_what_the_untrained_stage_says() -> None:
    key = training_key(SETTINGS, 0, "dvae", [1.0, 2.0])
    assert key == training_key(Optimisation(steps=10), 0, "dvae", [1.000001, 2.0])
    others = [
        training_key(SETTINGS.model_copy(update={"ema": 0.5}), 0, "dvae", [1.0, 2.0]),
        training_key(SETTINGS, 1, "dvae", [1.0, 2.0]),
        training_key(SETTINGS, 0, "prior", [1.0, 2.0]),
        training_key(SETTINGS, 0, "dvae", [1.0, 2.1]),
        training_key(SETTINGS, 0, "dvae", [1.0, 2.0], processes=2),
    ]
    assert len({key, *others}) == 6

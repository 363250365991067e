"""A training that was killed, stopped or robbed of a checkpoint goes on and ends with the same bits."""

import random
from pathlib import Path

import pytest
import torch
from little_stage import KILL, TERM, LittleStage, run, train

from dalle.config.training import Optimisation, Plateau

PLAIN = Optimisation(steps=60, batch_size=16, learning_rate=1e-2, warmup=4, checkpoint_every=7)
BRANCHES = PLAIN.model_copy(
    update={
        "precision": "fp16",
        "decay": "plateau",
        "plateau": Plateau(window=5, gain=0.5),
        "validate_every": 5,
        "accumulate": 2,
        "ema_every": 3,
        "clip_second_moment": 0.1,
        "checkpointing": True,
    }
)
GLOBAL = PLAIN.model_copy(update={"precision": "fp16", "scaling": "global", "weight_decay": 0.1, "decayed": "all"})


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.csv")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def updates(folder: Path) -> list[int]:
    """Of the checkpoints that lie there."""
    return sorted(int(file.name.split("-")[1]) for file in folder.glob("checkpoint-*"))


@pytest.mark.parametrize("settings", [PLAIN, BRANCHES, GLOBAL], ids=["float32", "fp16 branches", "fp16 global"])
def test_a_run_that_is_killed_five_times_at_random_steps_resumes_to_the_same_bits(
    tmp_path: Path, settings: Optimisation
) -> None:
    (tmp_path / "killed").mkdir()
    expected = train(tmp_path / "whole", settings, LittleStage(noise=0.1))
    for step in sorted(random.Random(settings.precision).sample(range(1, settings.steps), 5)):
        assert run(tmp_path / "killed", settings, LittleStage(noise=0.1, signals={step: KILL})) == -KILL
    assert run(tmp_path / "killed", settings, LittleStage(noise=0.1)) == 0
    assert equal(weights(tmp_path / "killed"), expected)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert updates(tmp_path / "killed") == []


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_says_so_and_resumes(tmp_path: Path) -> None:
    expected = train(tmp_path / "whole", PLAIN, LittleStage(noise=0.1))
    assert run(tmp_path, PLAIN, LittleStage(noise=0.1, signals={33: TERM})) == 1
    assert updates(tmp_path) == [28, 34]
    said = (tmp_path / "job.log").read_text()
    assert "little: stopped by SIGTERM after update 34; the same command goes on from" in said
    assert "Traceback" not in said
    assert run(tmp_path, PLAIN, LittleStage(noise=0.1)) == 0
    assert "goes on after update 34" in (tmp_path / "job.log").read_text()
    assert equal(weights(tmp_path), expected)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_checkpoint_is_named_and_the_run_resumes_from_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], damage: object
) -> None:
    expected = train(tmp_path / "whole", PLAIN, LittleStage(noise=0.1))
    assert run(tmp_path, PLAIN, LittleStage(noise=0.1, signals={33: KILL})) == -KILL
    newest = max(tmp_path.glob("checkpoint-*"))
    damage(newest)
    assert equal(train(tmp_path, PLAIN, LittleStage(noise=0.1)), expected)
    assert f"{newest} is damaged and is passed over" in caplog.text
    assert "goes on after update 21" in capsys.readouterr().err


def test_without_a_whole_checkpoint_it_starts_anew_and_leaves_none(tmp_path: Path) -> None:
    expected = train(tmp_path / "whole", PLAIN, LittleStage(noise=0.1))
    assert run(tmp_path, PLAIN, LittleStage(noise=0.1, signals={33: KILL})) == -KILL
    for file in tmp_path.glob("checkpoint-*"):
        flip(file)
    assert equal(train(tmp_path, PLAIN, LittleStage(noise=0.1)), expected)
    assert updates(tmp_path) == []


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_few_checkpoints_are_kept(tmp_path: Path, keep: int) -> None:
    settings = PLAIN.model_copy(update={"keep": keep})
    assert run(tmp_path, settings, LittleStage(signals={33: KILL})) == -KILL
    assert updates(tmp_path) == [14, 21, 28][-keep:]

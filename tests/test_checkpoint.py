"""A checkpoint is read back whole, and only by the training that wrote it."""

import torch

from dalle.config.training import Optimisation
from dalle.training.checkpoint import read_checkpoint, training_key, write_checkpoint

SETTINGS = Optimisation(steps=10)


def test_what_was_written_is_read(tmp_path):
    state = {"model": {"weight": torch.randn(3, 2)}, "rows": [{"step": 0, "loss": 0.5}], "step": 4}
    write_checkpoint(tmp_path / "c.pt", "key", state)
    again = read_checkpoint(tmp_path / "c.pt", "key")
    assert torch.equal(again["model"]["weight"], state["model"]["weight"])
    assert (again["rows"], again["step"]) == (state["rows"], 4)
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]


def test_another_key_or_no_file_gives_nothing(tmp_path, caplog):
    write_checkpoint(tmp_path / "c.pt", "key", {"step": 4})
    assert read_checkpoint(tmp_path / "c.pt", "another key") is None
    assert "starting anew" in caplog.text
    caplog.clear()
    assert read_checkpoint(tmp_path / "none.pt", "key") is None
    assert not caplog.text


def test_the_key_depends_on_settings_seed_stage_and_what_the_untrained_stage_says():
    key = training_key(SETTINGS, 0, "dvae", [1.0, 2.0])
    assert key == training_key(Optimisation(steps=10), 0, "dvae", [1.000001, 2.0])
    others = [
        training_key(SETTINGS.model_copy(update={"ema": 0.5}), 0, "dvae", [1.0, 2.0]),
        training_key(SETTINGS, 1, "dvae", [1.0, 2.0]),
        training_key(SETTINGS, 0, "prior", [1.0, 2.0]),
        training_key(SETTINGS, 0, "dvae", [1.0, 2.1]),
    ]
    assert len({key, *others}) == 5

"""16 bit in the loop: learns as float32 does, skips what is not finite, and is refused where nothing could use it."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from little_stage import WIDTH, LittleStage, train
from torch import nn

from dalle.config.distributed import Distributed, PowerSGD
from dalle.config.training import Optimisation

SETTINGS = Optimisation(steps=60, batch_size=16, learning_rate=1e-2, warmup=4)
FP16 = {"precision": "fp16"}


def other(**values: object) -> Optimisation:
    return Optimisation.model_validate(SETTINGS.model_dump(exclude_defaults=True) | values)


def losses(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv")


@pytest.mark.parametrize("values", [{"precision": "bf16"}, FP16, FP16 | {"scaling": "global"}])
def test_16_bit_learns_what_float32_learns(tmp_path: Path, values: dict) -> None:
    train(tmp_path / "32", SETTINGS)
    train(tmp_path / "16", other(**values))
    first, second = losses(tmp_path / "32"), losses(tmp_path / "16")
    assert second["loss"].iloc[-1] < 0.5 * second["loss"].iloc[0]
    assert second["loss"].to_numpy() == pytest.approx(first["loss"].to_numpy(), rel=0.1)
    assert (second["loss"] != first["loss"]).any()  # or the precision was not used
    if values["precision"] == "fp16":
        assert second["used"].all()


class Spike(LittleStage):
    """At one step the gradient of one branch is beyond float16."""

    def forward(
        self, indices: torch.Tensor, step: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, facts = super().forward(indices, step, generator)
        return loss * (1e9 if step == 10 and torch.is_grad_enabled() else 1), facts


@pytest.mark.parametrize("scaling", ["branch", "global"])
def test_an_update_beyond_float16_is_skipped_and_the_training_goes_on(tmp_path: Path, scaling: str) -> None:
    settings = other(precision="fp16", scaling=scaling, divergence=None)
    train(tmp_path, settings, Spike())
    log = losses(tmp_path).set_index("step")
    assert log["used"].to_dict() == {step: float(step != 10) for step in (0, 10, 20, 30, 40, 50, 59)}
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]


def test_in_float32_the_same_update_is_made(tmp_path: Path) -> None:
    train(tmp_path, other(divergence=None), Spike())
    assert losses(tmp_path)["grad_norm"].max() > 1e6


def test_recomputed_blocks_change_no_bit(tmp_path: Path) -> None:
    plain, recomputed = train(tmp_path / "a", SETTINGS), train(tmp_path / "b", other(checkpointing=True))
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


def test_parts_of_a_batch_add_up_to_it(tmp_path: Path) -> None:
    whole, parts = train(tmp_path / "a", SETTINGS), train(tmp_path / "b", other(accumulate=4))
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    stage = LittleStage()
    train(tmp_path, other(precision="fp16", checkpointing=True, steps=2), stage)
    assert (stage.model.scales, stage.model.checkpointing) == (None, False)


class Plain(nn.Module):
    """A stage whose model has no blocks, as the dVAE's, and nothing to validate on."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.examples, self.validated = nn.Linear(WIDTH, 1), 64, 0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (FP16, "little: scaling: branch is for models of residual branches; allowed here is global"),
        ({"checkpointing": True}, "little: checkpointing is for models of blocks; allowed here is false"),
        ({"decay": "plateau"}, "little: decay: plateau watches a validation loss, and nothing is held out"),
        ({"distributed": Distributed(powersgd=PowerSGD())}, "little: powersgd is for the matrices"),
    ],
)
def test_what_a_stage_cannot_use_is_refused(tmp_path: Path, values: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        train(tmp_path, SETTINGS.model_copy(update=values), Plain())

"""The training loop: stateless batches, bit-identical resumption, a log without wall times."""

import pandas as pd
import pytest
import torch
from torch import nn

from dalle.config.training import Optimisation
from dalle.training.batches import batch_indices, drawing
from dalle.training.fit import fit

CPU = torch.device("cpu")
SETTINGS = Optimisation(steps=40, batch_size=8, learning_rate=3e-2, warmup=4, checkpoint_every=15)


class Line(nn.Module):
    """A stage that learns y = 2x - 1 from noisy examples; it can be killed at a step."""

    def __init__(self, killed_at: int | None = None, slope: float = 2.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(1, 1)
        self.examples, self.validated = 50, 0
        self.x = torch.linspace(-1, 1, self.examples)[:, None]
        self.slope, self.killed_at = slope, killed_at

    def forward(self, indices, step, generator):
        if step == self.killed_at and torch.is_grad_enabled():
            raise KeyboardInterrupt
        noise = 0.1 * torch.randn(len(indices), 1, generator=generator)
        error = self.model(self.x[indices]) - (self.slope * self.x[indices] - 1 + noise)
        return error.square().mean(), {"worst": error.abs().max()}


def train(folder, stage, settings=SETTINGS, seed=0):
    return fit(stage, settings, seed, folder / "checkpoint.pt", folder / "log.csv", "line")


def test_it_learns_the_line_and_leaves_no_checkpoint(tmp_path):
    weights = train(tmp_path, Line(), SETTINGS.model_copy(update={"steps": 400}))
    assert weights["weight"].item() == pytest.approx(2, abs=0.05)
    assert weights["bias"].item() == pytest.approx(-1, abs=0.05)
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = train(whole, Line())
    with pytest.raises(KeyboardInterrupt):
        train(killed, Line(killed_at=33))
    assert sorted(int(file.name.split("-")[1]) for file in killed.glob("checkpoint-*")) == [15, 30]
    resumed = train(killed, Line())
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert (killed / "log.csv").read_bytes() == (whole / "log.csv").read_bytes()


@pytest.mark.parametrize(
    ("stage", "settings", "seed"),
    [
        (Line(), SETTINGS.model_copy(update={"learning_rate": 1e-3}), 0),
        (Line(), SETTINGS, 1),
        (Line(slope=3.0), SETTINGS, 0),
    ],
    ids=["settings", "seed", "data"],
)
def test_a_checkpoint_of_another_training_is_not_used_and_it_says_so(tmp_path, caplog, stage, settings, seed):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Line(killed_at=33))
    weights = train(tmp_path, stage, settings, seed)
    assert "starting anew" in caplog.text
    fresh = train(tmp_path / "fresh", Line(slope=stage.slope), settings, seed)
    assert all(torch.equal(weights[name], fresh[name]) for name in fresh)


def test_the_log_has_the_stages_scalars_and_no_time(tmp_path):
    train(tmp_path, Line())
    log = pd.read_csv(tmp_path / "log.csv")
    assert list(log.columns) == ["step", "loss", "learning_rate", "grad_norm", "worst"]
    assert log["step"].tolist() == [0, 10, 20, 30, 39]


def test_without_averaging_the_weights_are_the_last_ones(tmp_path):
    stage = Line()
    weights = train(tmp_path, stage, SETTINGS.model_copy(update={"ema": 0.0}))
    assert torch.equal(weights["weight"], stage.model.weight)


def test_an_epoch_is_a_permutation_in_whole_batches():
    epoch = torch.cat([batch_indices(0, "line", step, 8, 50) for step in range(6)])
    assert epoch.unique().numel() == 48
    following = torch.cat([batch_indices(0, "line", step, 8, 50) for step in range(6, 12)])
    assert not torch.equal(epoch, following)
    assert not torch.equal(batch_indices(0, "line", 0, 8, 50), batch_indices(0, "prior", 0, 8, 50))


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (3, 1), (2, 3), (4, 3)])
def test_processes_and_parts_share_a_batch_of_which_each_example_is_used_once(processes, accumulate):
    settings = SETTINGS.model_copy(update={"batch_size": 24, "accumulate": accumulate})
    shares = [drawing(settings, 50, 0, "line", index, processes, CPU)(7) for index in range(processes)]
    assert all(len(part) == 24 // (processes * accumulate) for parts, _ in shares for part in parts)
    drawn = torch.cat([part for parts, _ in shares for part in parts])
    assert torch.equal(drawn.sort().values, batch_indices(0, "line", 7, 24, 50).sort().values)
    assert len({generator.initial_seed() for _, generator in shares}) == processes


@pytest.mark.parametrize(("processes", "accumulate"), [(5, 1), (2, 8)])
def test_a_batch_that_cannot_be_shared_is_refused(processes, accumulate):
    settings = SETTINGS.model_copy(update={"batch_size": 24, "accumulate": accumulate})
    says = f"line: batch_size 24 cannot be cut into {processes} processes × {accumulate} parts"
    with pytest.raises(ValueError, match=says):
        drawing(settings, 50, 0, "line", 0, processes, CPU)


class Climbing(Line):
    """From step 200 on the loss is ten higher."""

    def forward(self, indices, step, generator):
        loss, facts = super().forward(indices, step, generator)
        return loss + 10 * (step >= 200), facts


@pytest.mark.parametrize("allowed", [1.0, None])
def test_a_loss_that_climbs_stops_and_names_the_last_good_checkpoint(tmp_path, allowed):
    settings = SETTINGS.model_copy(update={"steps": 260, "divergence": allowed})
    if allowed is None:
        train(tmp_path, Climbing(), settings)
        return
    with pytest.raises(FloatingPointError, match=r"stage line, step 2\d\d: the loss diverges: .*/checkpoint-00000195"):
        train(tmp_path, Climbing(), settings)
    assert len(list(tmp_path.glob("checkpoint-*"))) == settings.keep


def test_a_loss_that_is_not_finite_stops_and_names_stage_and_step(tmp_path):
    stage = Line()
    stage.x[batch_indices(0, "line", 3, 8, 50)[0]] = torch.nan  # in the first epoch first met at step 3
    with pytest.raises(FloatingPointError, match="stage line, step 3: loss is nan"):
        train(tmp_path, stage)


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="batch_size 64 is more than the 50"):
        train(tmp_path, Line(), SETTINGS.model_copy(update={"batch_size": 64}))

"""The prior's own settings of paper.yaml, all together, but for sizes and counts: two replicas of two shards."""

import os
from pathlib import Path

import pandas as pd
import torch
from little_stage import KILL, run_team, train_and_keep

from dalle.config.distributed import Distributed, PowerSGD
from dalle.config.reading import load_config, read_yaml
from dalle.config.training import Optimisation, Plateau
from dalle.models.transformer import Shape, Transformer
from dalle.provenance import ROOT
from dalle.systems.prior import PriorStage


def as_the_paper() -> Optimisation:
    published = load_config(read_yaml(ROOT / "workflow/config/paper.yaml")).prior.optimisation
    counts = {"steps": 20, "batch_size": 8, "warmup": 4, "validate_every": 2, "checkpoint_every": 7, "ema_every": 3}
    return published.model_copy(
        update={
            **counts,
            "learning_rate": 1e-2,
            "clip_second_moment": 1e-6,
            "plateau": Plateau(window=8, gain=0.9),
            "distributed": Distributed(kind="fsdp", shards=2, powersgd=PowerSGD(rank=8, uncompressed=0)),
        }
    )


class TinyPrior(PriorStage):
    """A prior that may be killed in the midst of an update, and that no device could hold as a whole."""

    def __init__(self, killed_at: int | None = None) -> None:
        torch.manual_seed(0)
        shape = Shape(32, 2, 3, 3, text_context=4, text_vocab=9, grid=4, codes=11)
        text = torch.randint(9, (1, 40, 4))
        codes = (text[0, :, :1] + torch.arange(16)) % 3  # what can be learnt soon
        super().__init__(Transformer(shape, "windows"), text, codes, 1 / 8, (text[0, :8], codes[:8]))
        self.killed_at = killed_at

    def to(self, *_where: object) -> "TinyPrior":
        raise AssertionError("all of it went to the device")

    def forward(self, indices, step, generator):
        if step == self.killed_at and torch.is_grad_enabled():
            os.kill(os.getpid(), KILL)
        return super().forward(indices, step, generator)


def train_the_prior(folder: Path, killed_at: int | None = None) -> None:
    train_and_keep(folder, as_the_paper(), TinyPrior(killed_at))


def test_distributed_training_as_the_papers_learns_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert run_team(4, train_the_prior, whole) == [0] * 4
    found = pd.read_csv(whole / "log.csv")
    assert found["used"].all()
    assert found["image_nats"].iloc[-1] < found["image_nats"].iloc[0] - 0.2
    assert found["learning_rate"].iloc[-1] < 1e-2  # plateaus were seen
    assert run_team(4, train_the_prior, killed, 17) == [-KILL] * 4
    sizes = {file.name.split("-")[2]: file.stat().st_size for file in killed.glob("checkpoint-00000014-*")}
    assert sizes.keys() == {f"{index}of4" for index in range(4)}
    assert 3 * sizes["2of4"] < sizes["0of4"]  # the second replica has its errors, and no copy of what the first one has
    assert run_team(4, train_the_prior, killed) == [0] * 4
    one, other = (torch.load(folder / "weights.pt") for folder in (killed, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (killed / "log.csv").read_bytes() == (whole / "log.csv").read_bytes()

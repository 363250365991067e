"""Two processes (gloo, on the CPU) end where one does; PowerSGD ends near it and sends less."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from little_stage import KILL, WIDTH, LittleStage, run_team, train_and_keep

from dalle.config.distributed import Distributed, PowerSGD
from dalle.config.training import Optimisation
from dalle.models.compression import sent_numbers

SETTINGS = Optimisation(steps=30, batch_size=16, learning_rate=1e-2, warmup=4, checkpoint_every=7, validate_every=10)
SQUEEZED = PowerSGD(rank=2, uncompressed=5)
CASES = {
    "ddp": Distributed(),
    "fsdp": Distributed(kind="fsdp"),
    "powersgd": Distributed(powersgd=SQUEEZED),
}
BAND = 0.35  # of the loss: how far PowerSGD of rank 2 may be from whole gradients after 30 updates


def settings(case: str, **values: object) -> Optimisation:
    return SETTINGS.model_copy(update={"distributed": CASES[case], **values})


def train_all(folder: Path) -> None:
    for case in CASES:
        train_and_keep(folder / case, settings(case), LittleStage())
    more = {"accumulate": 2, "checkpointing": True}
    for case in ("ddp", "fsdp"):
        train_and_keep(folder / f"{case} with more", settings(case, **more), LittleStage())
        train_and_keep(folder / f"{case} fp16", settings(case, precision="fp16"), LittleStage())


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave."""
    folder = tmp_path_factory.mktemp("team")
    assert run_team(2, train_all, folder) == [0, 0]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one leaves."""
    folder = tmp_path_factory.mktemp("alone")
    train_and_keep(folder, SETTINGS, LittleStage())
    train_and_keep(folder / "fp16", settings("ddp", precision="fp16"), LittleStage())
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt")


def log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv")


@pytest.mark.parametrize("case", ["ddp", "fsdp", "ddp with more", "fsdp with more"])
def test_distributed_training_ends_where_one_process_does(team: Path, alone: Path, case: str) -> None:
    expected, found = weights(alone), weights(team / case)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-5)
    columns = ["step", "loss", "learning_rate", "grad_norm"]  # "worst" is each process's own
    assert log(team / case)[columns].to_numpy() == pytest.approx(log(alone)[columns].to_numpy(), rel=1e-4)
    validation = [pd.read_csv(folder / "validation.csv") for folder in (team / case, alone)]
    assert validation[0].to_numpy() == pytest.approx(validation[1].to_numpy(), rel=1e-4)


@pytest.mark.parametrize("case", ["ddp fp16", "fsdp fp16"])
def test_distributed_branch_scaling_learns_the_same(team: Path, alone: Path, case: str) -> None:
    found, expected = log(team / case), log(alone / "fp16")
    assert found["used"].all()
    assert found["loss"].to_numpy() == pytest.approx(expected["loss"].to_numpy(), rel=0.05)


def test_distributed_powersgd_learns_within_a_band(team: Path, alone: Path) -> None:
    found, expected = log(team / "powersgd")["loss"], log(alone)["loss"]
    assert found.iloc[0] == pytest.approx(expected.iloc[0], rel=1e-5)
    assert found.iloc[-1] != pytest.approx(expected.iloc[-1], rel=1e-4)  # or nothing was compressed
    assert found.iloc[-1] < (1 + BAND) * expected.iloc[-1]
    assert found.iloc[-1] < 0.6 * found.iloc[0]


def test_distributed_powersgd_sends_what_the_plan_computes(team: Path) -> None:
    shapes = [parameter.shape for parameter in LittleStage().model.parameters()]
    inner = [tuple(shape) for shape in shapes if len(shape) == 2 and shape not in ((WIDTH, 4), (1, WIDTH))]
    whole = sum(shape.numel() for shape in shapes)
    squeezed = whole - sum(m * n for m, n in inner) + sent_numbers(inner, SQUEEZED.rank)
    sent = 4 * (SQUEEZED.uncompressed * whole + (SETTINGS.steps - SQUEEZED.uncompressed) * squeezed)
    assert (
        f"little: {sent:,} bytes of gradients were exchanged between replicas"
        in (team / "powersgd/job.log").read_text()
    )
    assert squeezed < 0.45 * whole


def train_killed(folder: Path, case: str, step: int) -> None:
    train_and_keep(folder, settings(case), LittleStage(noise=0.1, signals={step: KILL}))


def train_to_the_end(folder: Path, case: str) -> None:
    train_and_keep(folder, settings(case), LittleStage(noise=0.1))


@pytest.mark.parametrize("case", CASES)
def test_a_distributed_run_that_is_killed_resumes_to_the_same_bits(tmp_path: Path, case: str) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert run_team(2, train_to_the_end, whole, case) == [0, 0]
    assert run_team(2, train_killed, killed, case, 17) == [-KILL, -KILL]
    assert len(list(killed.glob("checkpoint-00000014-*of2-*"))) == 2
    next(killed.glob("checkpoint-00000014-1of2-*")).unlink()  # what one alone has, nobody waits for
    assert run_team(2, train_to_the_end, killed, case) == [0, 0]
    assert "goes on after update 7" in (killed / "job.log").read_text()
    one, other = weights(killed), weights(whole)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (killed / "log.csv").read_bytes() == (whole / "log.csv").read_bytes()


def cut_in_two(folder: Path) -> None:
    wanted = settings("fsdp", distributed=Distributed(kind="fsdp", shards=2, powersgd=SQUEEZED))
    train_and_keep(folder, wanted, LittleStage())


def test_distributed_shards_compress_between_replicas(tmp_path: Path, alone: Path) -> None:
    """Two replicas of two shards each: the paper's arrangement."""
    assert run_team(4, cut_in_two, tmp_path) == [0] * 4
    found, expected = log(tmp_path)["loss"], log(alone)["loss"]
    assert found.iloc[0] == pytest.approx(expected.iloc[0], rel=1e-5)
    assert found.iloc[-1] < (1 + BAND) * expected.iloc[-1]

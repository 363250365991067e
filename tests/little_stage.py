"""A stage that trains in a blink and has all that the loop's settings ask for; and processes that train it.

The processes come from a fork server that has imported this module, so each of them begins at once.
"""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dalle.config.training import Optimisation
from dalle.joblog import job_log
from dalle.models.branches import add_scaled
from dalle.systems.stage import Stage
from dalle.training.fit import fit

WIDTH, DEPTH = 16, 2
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["dalle.training.fit", "dalle.joblog"])


class Branch(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.tanh(self.up(x)))


class Block(nn.Module):
    """Two residual branches, as attention and MLP are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(width) for _ in range(2))

    def forward(self, x: torch.Tensor, scales: torch.Tensor | None) -> torch.Tensor:
        for number, branch in enumerate(self.branches):
            x = x + branch(x) if scales is None else add_scaled(x, branch, scales[number])
        return x


class Little(nn.Module):
    def __init__(self, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Linear(4, width), nn.Linear(width, 1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.scales: torch.Tensor | None = None
        self.checkpointing = False

    @property
    def branches(self) -> list[list[nn.Parameter]]:
        return [list(branch.parameters()) for block in self.blocks for branch in block.branches]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).float()
        pairs = [None] * len(self.blocks) if self.scales is None else self.scales.view(-1, 2)
        for block, scales in zip(self.blocks, pairs, strict=True):
            x = checkpoint(block, x, scales, use_reentrant=False) if self.checkpointing else block(x, scales)
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x)


class LittleStage(Stage):
    """y = sin(x · w), with ``noise``; ``signals`` are sent to the own process in the midst of an update, by step."""

    def __init__(self, noise: float = 0.0, signals: dict[int, int] | None = None, width: int = WIDTH) -> None:
        super().__init__()
        self.model, self.noise, self.signals = Little(width), noise, signals or {}
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(96, 4, generator=generator)
        y = torch.sin(x @ torch.randn(4, 1, generator=generator))
        self.register_buffer("x", x, persistent=False)
        self.register_buffer("y", y, persistent=False)
        self.examples, self.validated, self.tokens = 64, 32, 1

    def forward(
        self, indices: torch.Tensor, step: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if step in self.signals and torch.is_grad_enabled():
            os.kill(os.getpid(), self.signals[step])
        noise = self.noise * torch.randn(len(indices), 1, generator=generator, device=indices.device)
        error = self.model(self.x[indices]) - self.y[indices] + noise
        return error.square().mean(), {"worst": error.detach().abs().max()}

    def validate(self) -> dict[str, torch.Tensor]:
        error = self.model(self.x[64:]) - self.y[64:]
        return {"loss": error.square().mean(), "worst": error.abs().max()}


def train(folder: Path, settings: Optimisation, stage: Stage | None = None) -> dict[str, torch.Tensor]:
    return fit(stage or LittleStage(), settings, 0, folder / "checkpoint.pt", folder / "log.csv", "little")


def train_and_keep(folder: Path, settings: Optimisation, stage: Stage) -> None:
    """A job that leaves its weights as a file, and its words in job.log."""
    rank = os.environ.get("RANK", "0")
    with job_log(folder / ("job.log" if rank == "0" else f"job-{rank}.log")):
        weights = train(folder, settings, stage)
        if rank == "0":
            torch.save(weights, folder / "weights.pt")


def run(*arguments: object, function: object = train_and_keep) -> int:
    """The exit status of a process that trains; minus the signal that killed it."""
    process = SERVER.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def run_team(count: int, function: object, *arguments: object) -> list[int]:
    """Exit statuses of ``count`` processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = [SERVER.Process(target=_member, args=(index, count, port, function, arguments)) for index in range(count)]
    for process in team:
        process.start()
    for process in team:
        process.join()
    return [process.exitcode for process in team]


def _member(index: int, count: int, port: int, function: object, arguments: tuple) -> None:
    os.environ |= {"RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    function(*arguments)
    torch.distributed.destroy_process_group()


KILL, TERM = signal.SIGKILL, signal.SIGTERM

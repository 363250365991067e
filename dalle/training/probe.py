"""What the untrained stage says of itself: its losses, which tell trainings apart, and what an update costs."""

from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dalle.config.training import Optimisation
from dalle.hardware import chip_named
from dalle.training.batches import batch_indices, noise
from dalle.training.distributed import Team
from dalle.training.progress import Load

BACKWARD = 2  # times the FLOPs of the forward pass


@torch.no_grad()
def probe(
    stage: nn.Module, settings: Optimisation, seed: int, name: str, team: Team, cast: AbstractContextManager[None]
) -> tuple[list[float], Load]:
    """Losses of the untrained stage at its first and last step, the same in every process; and the load of an update.

    The losses are of one process's part of a batch, within ``cast``. A sharded stage is asked as one, because the whole
    of it may fit nowhere.
    """
    size = settings.batch_size // (team.count * settings.accumulate)
    indices = batch_indices(seed, name, 0, settings.batch_size, stage.examples)[:size].to(team.device)
    losses, flops = [], 0
    with cast:
        for step in (0, settings.steps - 1):
            with FlopCounterMode(display=False) as counter:
                losses.append(float(stage(indices, step, noise(seed, name, step, 0, team.device))[0]))
            flops = counter.get_total_flops()
    team.rest(stage)
    tokens = getattr(stage, "tokens", None)
    return losses, Load(
        samples=settings.batch_size,
        tokens=tokens and tokens * settings.batch_size,
        flops=(1 + BACKWARD) * flops * settings.batch_size / size,
        peak=_peak(team),
    )


def _peak(team: Team) -> float | None:
    """FLOPs a second in 16 bit of all processes' chips; None for chips that are not listed."""
    if team.device.type != "cuda":
        return None
    chip = chip_named(torch.cuda.get_device_name(team.device))
    return chip and chip.flops * team.count

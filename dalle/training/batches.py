"""Which examples an update sees, and its randomness: functions of seed, stage and step, not of what ran before."""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from dalle.config.training import Optimisation
from dalle.seeding import seed_for

Draw = Callable[[int], tuple[tuple[Tensor, ...], torch.Generator]]


def batch_indices(seed: int, name: str, step: int, batch_size: int, examples: int) -> Int[Tensor, " batch"]:
    """The examples of update ``step``: each epoch is a fresh permutation, cut into whole batches.

    What is left of an epoch (less than a batch) is dropped, so no batch has an example twice.
    """
    epoch, number = divmod(step, examples // batch_size)
    return _permutation(seed_for(seed, name, "epoch", epoch), examples)[number * batch_size : (number + 1) * batch_size]


@lru_cache(maxsize=2)
def _permutation(seed: int, examples: int) -> Int[Tensor, " examples"]:
    return torch.randperm(examples, generator=torch.Generator().manual_seed(seed))


def noise(seed: int, name: str, step: int, process: int, device: torch.device) -> torch.Generator:
    """The randomness of update ``step`` in one process."""
    return torch.Generator(device).manual_seed(seed_for(seed, name, "noise", step, process))


def drawing(
    settings: Optimisation, examples: int, seed: int, name: str, process: int, processes: int, device: torch.device
) -> Draw:
    """The function from a step to this process's share of the batch, in ``settings.accumulate`` parts, and its noise.

    Raises ValueError for a batch that is larger than the data or that cannot be cut into equal shares and parts.
    """
    size, parts = settings.batch_size, settings.accumulate
    if size > examples:
        raise ValueError(f"{name}: batch_size {size} is more than the {examples} training examples")
    if size % (processes * parts):
        raise ValueError(
            f"{name}: batch_size {size} cannot be cut into {processes} processes × {parts} parts (accumulate); "
            "a multiple of their product can"
        )

    def draw(step: int) -> tuple[tuple[Tensor, ...], torch.Generator]:
        indices = batch_indices(seed, name, step, size, examples)[process::processes]
        return indices.to(device).chunk(parts), noise(seed, name, step, process, device)

    return draw

"""The averaged weights (EMA), which are the ones that are kept."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from dalle.config.training import Optimisation
from dalle.training.distributed import local

Average = dict[str, Shaped[Tensor, "..."]]


def ema_decay(settings: Optimisation, number: int) -> float:
    """How much of the average survives its step ``number`` (0-based).

    If it grows in, the average soon forgets the random start: 0.1, 0.18, 0.25 … up to ``settings.ema``.
    """
    return min(settings.ema, (1 + number) / (10 + number)) if settings.ema_grows_in else settings.ema


def start_average(model: nn.Module) -> Average:
    """A copy of ``model``'s state dict, where the average begins; of sharded weights, this process's shards."""
    return {name: local(value).detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def update_average(average: Average, model: nn.Module, decay: float) -> None:
    """Moves ``average`` in place: average ← decay · average + (1 - decay) · weights. Integer buffers are copied."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(local(value), 1 - decay)
        else:
            average[name].copy_(local(value))

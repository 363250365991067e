"""The optimiser's facts: which weights decay, how large each step is, how the weights are averaged."""

from math import cos, pi

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from dalle.config import Optimisation

LAST_SHARE = 0.1  # of the peak step size: where the cosine ends


def learning_rate(settings: Optimisation, step: int) -> float:
    """The step size of update ``step`` (0-based): linear warm-up to the peak, then a half cosine to a tenth of it.

    The paper halves by hand on plateaus instead (§B.2); a cosine needs nobody to watch.
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    position = (step - settings.warmup) / max(1, settings.steps - 1 - settings.warmup)
    return settings.learning_rate * (LAST_SHARE + (1 - LAST_SHARE) * (1 + cos(pi * position)) / 2)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Every group of ``optimizer`` has step size ``value``."""
    for group in optimizer.param_groups:
        group["lr"] = value


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two parameter groups: matrices (and embeddings, kernels) decay; gains, biases and scalars do not.

    Frozen parameters are in neither.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim >= 2]
    kept = [parameter for parameter in trained if parameter.ndim < 2]
    identities = [id(parameter) for parameter in decayed + kept]
    assert len(set(identities)) == len(identities) == len(trained), "the split of the parameters is not a partition"
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, settings: Optimisation) -> torch.optim.AdamW:
    """AdamW, fused (on two CPU cores too it is the fastest of the three implementations)."""
    groups = decay_groups(model, settings.weight_decay)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def ema_decay(ema: float, step: int) -> float:
    """How much of the average survives update ``step`` (0-based).

    Grows in, so that the average soon forgets the random start: 0.1, 0.18, 0.25 … up to ``ema``.
    """
    return min(ema, (1 + step) / (10 + step))


def start_average(model: nn.Module) -> dict[str, Shaped[Tensor, "..."]]:
    """A copy of ``model``'s state dict, where the average begins."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def update_average(average: dict[str, Shaped[Tensor, "..."]], model: nn.Module, decay: float) -> None:
    """Moves ``average`` in place: average ← decay · average + (1 - decay) · weights. Integer buffers are copied."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)

"""The optimiser's facts: which weights decay, how large each step is, how the weights are averaged."""

from collections.abc import Iterable
from math import cos, pi

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from dalle.config.training import Optimisation

LAST_SHARE = 0.1  # of the peak step size: where the cosine ends


def learning_rate(settings: Optimisation, step: int) -> float:
    """The step size of update ``step`` (0-based): linear warm-up to the peak, then a half cosine to a tenth of it.

    The paper halves by hand on plateaus instead (§B.2); a cosine needs nobody to watch.
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    position = (step - settings.warmup) / max(1, settings.steps - 1 - settings.warmup)
    return settings.learning_rate * (LAST_SHARE + (1 - LAST_SHARE) * (1 + cos(pi * position)) / 2)


def set_learning_rate(optimizers: list[torch.optim.Optimizer], value: float) -> None:
    """Every group of every optimiser has step size ``value``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = value


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Two parameter groups: matrices (and embeddings, kernels) decay; gains, biases and scalars do not.

    Frozen parameters are in neither, one that is used twice is in one of them once.
    """
    trained = list(dict.fromkeys(parameter for parameter in parameters if parameter.requires_grad))
    decayed = [parameter for parameter in trained if parameter.ndim >= 2]
    kept = [parameter for parameter in trained if parameter.ndim < 2]
    assert len(decayed) + len(kept) == len(trained), "the split of the parameters is not a partition"
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def make_optimizers(model: nn.Module, settings: Optimisation) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters; or, with ``optimiser: muon``, Muon for the blocks' matrices and AdamW for the rest.

    Muon's steps are scaled to AdamW's size, so one step size serves both. Raises ValueError where there are no blocks.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    hidden = {}
    if settings.optimiser == "muon":
        hidden = {name: p for name, p in trained.items() if p.ndim == 2 and name.startswith("blocks.")}
        if not hidden:
            raise ValueError("optimiser: muon is for models with blocks of matrices; allowed here is adamw")
    rest = decay_groups((parameter for name, parameter in trained.items() if name not in hidden), settings.weight_decay)
    # Fused: on two CPU cores too it is the fastest of the three implementations.
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=settings.betas, fused=True)
    ]
    if hidden:
        decay = settings.weight_decay
        step = {"lr": settings.learning_rate, "adjust_lr_fn": "match_rms_adamw"}
        optimizers.append(torch.optim.Muon(list(hidden.values()), weight_decay=decay, **step))
    return optimizers


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

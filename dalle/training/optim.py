"""The optimisers: which weights each has, which of them decay, and where their second moments end."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dalle.config.training import Optimisation
from dalle.training.distributed import like, local

Optimizers = list[torch.optim.Optimizer]


def set_learning_rate(optimizers: Optimizers, value: float) -> None:
    """Every group of every optimiser has step size ``value``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = value


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float, decayed: str = "matrices") -> list[dict]:
    """Two parameter groups: what decays, and the rest. ``matrices`` are embeddings and kernels too; gains, biases and
    scalars are not.

    Frozen parameters are in neither, one that is used twice is in one of them once.
    """
    trained = list(dict.fromkeys(parameter for parameter in parameters if parameter.requires_grad))
    falling = [parameter for parameter in trained if decayed == "all" or parameter.ndim >= 2]
    kept = [parameter for parameter in trained if decayed != "all" and parameter.ndim < 2]
    assert len(falling) + len(kept) == len(trained), "the split of the parameters is not a partition"
    return [{"params": falling, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def step_decay(settings: Optimisation) -> float:
    """The decay that torch wants, which multiplies it by the step size."""
    absolute = settings.weight_decay_convention == "absolute"
    return settings.weight_decay / settings.learning_rate if absolute else settings.weight_decay


def make_optimizers(model: nn.Module, settings: Optimisation) -> Optimizers:
    """AdamW for all parameters; or, with ``optimiser: muon``, Muon for the blocks' matrices and AdamW for the rest.

    Muon's steps are scaled to AdamW's size, so one step size serves both. Raises ValueError where there are no blocks.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    hidden = {}
    if settings.optimiser == "muon":
        hidden = {name: p for name, p in trained.items() if p.ndim == 2 and name.startswith("blocks.")}
        if not hidden:
            raise ValueError("optimiser: muon is for models with blocks of matrices; allowed here is adamw")
    decay = step_decay(settings)
    others = (parameter for name, parameter in trained.items() if name not in hidden)
    rest = decay_groups(others, decay, settings.decayed)
    # Fused: on two CPU cores too it is the fastest of the three implementations.
    optimizers: Optimizers = [
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, fused=True)
    ]
    if hidden:
        step = {"lr": settings.learning_rate, "adjust_lr_fn": "match_rms_adamw"}
        optimizers.append(torch.optim.Muon(list(hidden.values()), weight_decay=decay, **step))
    return optimizers


@torch.no_grad()
def clip_second_moments(optimizers: Optimizers, most: float) -> None:
    """No running second moment of AdamW is more than ``most`` (paper §B.2: by value, at 5)."""
    for optimizer in optimizers:
        for state in optimizer.state.values():
            if "exp_avg_sq" in state:
                local(state["exp_avg_sq"]).clamp_(max=most)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Its state dict; of sharded moments, this process's shards."""
    return tree_map_only(Tensor, local, optimizer.state_dict())


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Goes on from what :func:`optimizer_state` gave."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    placed = {
        number: {what: like(value, parameters[number]) if value.ndim else value for what, value in moments.items()}
        for number, moments in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": placed})

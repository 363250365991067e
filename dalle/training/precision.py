"""In what precision a model learns, and what 16 bit asks for: gradients that are scaled, and updates that are skipped.

    float32    nothing
    bf16       matrix products in bfloat16, which has float32's exponents; weights and sums stay float32
    fp16       the same in float16, whose gradients need a scale: one for all (torch's GradScaler) or one for each
               residual branch (paper §2.4, dalle/training/scaling.py)

Logits should stay float32 (paper §D): the models see to that.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dalle.config.training import Optimisation
from dalle.training.distributed import Team
from dalle.training.optim import Optimizers
from dalle.training.scaling import BranchScales, may_update, unscale

DTYPES = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Unscaled:
    """float32 and bf16: losses are taken as they are, and a gradient that is not finite is an error."""

    skips = False  # whether updates with gradients that are not finite are left out

    def __init__(self, settings: Optimisation, team: Team) -> None:
        self.dtype, self.team = DTYPES[settings.precision], team

    def cast(self) -> AbstractContextManager[None]:
        """What the forward pass stands in."""
        return nullcontext() if self.dtype is None else torch.autocast(self.team.device.type, self.dtype)

    def scaled(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """What the backward pass begins with."""
        return loss

    def before(self) -> None:
        """To be called before the forward passes of an update."""

    def unscale(self, optimizers: Optimizers) -> bool:
        """Gradients lose their scale. Whether those that this process sees are finite; True where nobody has to ask."""
        return True

    def after(self) -> None:
        """To be called after the gradients of an update were used or thrown away."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


class GlobalScale(Unscaled):
    """fp16 under one scale, torch's: doubled after 2,000 good updates, halved by a bad one."""

    skips = True

    def __init__(self, settings: Optimisation, team: Team) -> None:
        super().__init__(settings, team)
        self.scaler = torch.amp.GradScaler(team.device.type)

    def scaled(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        return self.scaler.scale(loss)

    def unscale(self, optimizers: Optimizers) -> bool:
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        return True  # the norm will say it

    def after(self) -> None:
        self.scaler.update()

    def state_dict(self) -> dict:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.scaler.load_state_dict(state)


class BranchScale(Unscaled):
    """fp16 under a scale for each of the ``branches`` of ``model``, whose blocks take them from ``model.scales``.

    The scales begin without the paper's factor M: it makes up for losses that are divided by the whole batch, and ours
    are divided by the process's share, then averaged.
    """

    skips = True

    def __init__(self, settings: Optimisation, team: Team, model: nn.Module, branches: list[list[str]]) -> None:
        super().__init__(settings, team)
        self.model, self.branches = model, branches
        self.scales = BranchScales(len(branches), device=team.device)
        self.finite = torch.ones(len(branches), dtype=torch.bool, device=team.device)

    def before(self) -> None:
        self.model.scales = self.scales.values

    def unscale(self, optimizers: Optimizers) -> bool:
        parameters = dict(self.model.named_parameters())
        branches = [[parameters.pop(name) for name in names] for names in self.branches]
        self.finite = self.team.all(unscale(branches, self.scales.values))
        usable = torch.tensor([may_update(self.finite, parameters.values())], device=self.team.device)
        return bool(self.team.all(usable))

    def after(self) -> None:
        self.scales.update(self.finite)

    def state_dict(self) -> dict:
        return self.scales.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.scales.load_state_dict(state)


def make_precision(settings: Optimisation, team: Team, model: nn.Module, branches: list[list[str]]) -> Unscaled:
    """What ``settings.precision`` and ``settings.scaling`` ask for."""
    if settings.precision != "fp16":
        return Unscaled(settings, team)
    if settings.scaling == "global":
        return GlobalScale(settings, team)
    return BranchScale(settings, team, model, branches)


def branch_names(model: nn.Module) -> list[list[str]]:
    """The parameters of each residual branch, by name: sharding makes new parameters, names stay. [] without any."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [[names[parameter] for parameter in branch] for branch in getattr(model, "branches", [])]

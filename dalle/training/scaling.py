"""A gradient scale for each residual branch, so that a deep network can learn in 16 bit (paper §2.4, figure 4, §D).

Activation gradients fall from the last block to the first by more than float16's exponents can hold: under one scale
for all, some branch overflows or another becomes zero. Here the identity path is float32 and unscaled, and each branch
(attention, MLP) works in float16 with a scale of its own: how is said in dalle/models/branches.py, here stands how the
scales are found. On the gradients of a branch's own weights nothing is filtered: by them a branch that overflowed is
known. bfloat16 has float32's exponents and needs none of this.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from dalle.training.distributed import local

STEPS = 1000  # exponents are counted in thousandths: a good update raises a scale by one, that is by 2^(1/1000)
START, LOWEST, HIGHEST = 13 * STEPS, 7 * STEPS, 24 * STEPS
DIVISION = STEPS // 2  # a bad update divides by √2
PAUSE = 125  # updates between two divisions of a scale, at least


class BranchScales:
    """The scales of all residual branches: replicas · 2^(k/1000), k a whole number: a resumed run has the same ones.

    ``replicas`` is how many processes share a batch. The paper divides each loss by the size of the whole batch, not of
    the process's share, which makes gradients that much smaller; the factor makes up for it.
    """

    def __init__(self, branches: int, replicas: int = 1, device: torch.device | str = "cpu") -> None:
        self.replicas = replicas
        self.exponents: Int64[Tensor, " branches"] = torch.full((branches,), START, device=device)
        self.since_division: Int64[Tensor, " branches"] = torch.full((branches,), PAUSE, device=device)

    @property
    def values(self) -> Float32[Tensor, " branches"]:
        """The scales; between updates they stay as they are."""
        return (self.replicas * torch.exp2(self.exponents.double() / STEPS)).float()

    def update(self, finite: Bool[Tensor, " branches"]) -> None:
        """After an update: × 2^(1/1000) for branches whose gradients were all finite, ÷ √2 for the others.

        A scale is not divided again within 125 updates, and stays between replicas · 2⁷ and replicas · 2²⁴.
        """
        divided = ~finite & (self.since_division >= PAUSE)
        self.exponents += finite.long() - DIVISION * divided.long()
        self.exponents.clamp_(LOWEST, HIGHEST)
        self.since_division = torch.where(divided, 1, self.since_division + 1).clamp(max=PAUSE)

    def state_dict(self) -> dict[str, Tensor]:
        return {"exponents": self.exponents.clone(), "since_division": self.since_division.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Raises ValueError for the scales of another number of branches."""
        given, wanted = len(state["exponents"]), len(self.exponents)
        if given != wanted:
            raise ValueError(f"scales of {given} residual branches; allowed are those of {wanted}")
        self.exponents.copy_(state["exponents"])
        self.since_division.copy_(state["since_division"])


@torch.no_grad()
def unscale(
    branches: Sequence[Iterable[nn.Parameter]], scales: Float32[Tensor, " branches"]
) -> Bool[Tensor, " branches"]:
    """Divides the gradients of each branch's weights by its scale, in place; True where all of them are finite.

    To be called once an update. Where processes have gradients or shards of their own, the answer of all is the logical
    and of theirs.
    """
    finite = torch.ones(len(branches), dtype=torch.bool, device=scales.device)
    for number, parameters in enumerate(branches):
        for parameter in parameters:
            if parameter.grad is not None:
                gradient = local(parameter.grad)
                gradient.div_(scales[number])
                finite[number] &= gradient.isfinite().all()
    return finite


def may_update(finite: Bool[Tensor, " branches"], rest: Iterable[nn.Parameter]) -> bool:
    """Whether the weights may be updated: every gradient, of the branches and of the ``rest``, is finite.

    One bad branch skips the update of all weights, so that one count of updates holds for every moment of the
    optimiser; the paper says that updates are skipped, about 5 % of them, not whether those of other branches are.
    """
    gradients = [local(parameter.grad) for parameter in rest if parameter.grad is not None]
    return bool(finite.all()) and all(bool(gradient.isfinite().all()) for gradient in gradients)

"""What the training loop asks of anything that learns: a number of examples, and a loss for some of them."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class Stage(nn.Module, ABC):
    """A network together with the data it learns from; the loop knows neither.

    ``model`` is the part whose (averaged) weights are kept; ``examples`` is how many examples there are to draw from,
    ``validated`` how many :meth:`validate` looks at; ``tokens`` how many tokens of an example are learnt.

    Some settings ask something of ``model``. With ``scaling: branch`` and PowerSGD it has ``branches`` (the parameters
    of each residual branch, in order) and ``scales`` (a tensor of their gradients' scales, or None), with
    ``checkpointing`` a flag of that name.
    """

    model: nn.Module
    examples: int
    validated: int = 0
    tokens: int | None = None

    @abstractmethod
    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The loss of the examples ``indices`` at update ``step``, and scalars worth a column of the log.

        ``generator`` is the only source of randomness.
        """

    def validate(self) -> dict[str, Float[Tensor, ""]]:
        """``loss``, and scalars worth a column, of examples that are held out, or of some that are not.

        The model is in evaluation mode, and no gradient is wanted.
        """
        raise NotImplementedError

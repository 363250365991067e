"""What the training loop asks of anything that learns: a number of examples, and a loss for some of them."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class Stage(nn.Module, ABC):
    """A network together with the data it learns from; the loop knows neither.

    ``model`` is the part whose (averaged) weights are kept; ``examples`` is how many examples there are to draw from.
    """

    model: nn.Module
    examples: int

    @abstractmethod
    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The loss of the examples ``indices`` at update ``step``, and scalars worth a column of the log.

        ``generator`` is the only source of randomness.
        """

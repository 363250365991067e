"""A network as the extractors see it."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn


class Network(nn.Module):
    """A body that turns normalised pictures into features, and linear heads that turn features into class scores."""

    def __init__(self, body: nn.Module, heads: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict(heads)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Float[Tensor, "n 3 side side"]) -> dict[str, Float[Tensor, "n _"]]:
        """``features``, and the logits of each head by its name."""
        features = self.body(pictures)
        return {"features": features, **{name: head(features) for name, head in self.heads.items()}}

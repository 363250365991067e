"""A network as the extractors see it, and the arithmetic in which it is run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
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


@contextmanager
def full_precision() -> Iterator[None]:
    """Inference in true float32: no autocast, no TF32, no bfloat16 products, whatever has been set outside."""
    outside = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(outside)

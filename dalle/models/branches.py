"""A residual branch in 16 bit on an identity path in float32 (paper §2.4, figure 4, §D).

    forward    x ─────────────────────────────(+)──►     x float32
                └─ to float16 ─► branch ─► to float32 ┘
    backward   ◄─(+)──────────────────────────── g       g float32
                  └─ filter ◄─ ÷ scale ◄─ branch ◄─ × scale ┘

The filter makes zeros of what is not finite in the activation gradient: otherwise one bad branch would lower the scales
of all branches before it. Where the scales come from is told in dalle/training/scaling.py.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float32
from torch import Tensor

Branch = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]


def add_scaled(
    x: Float32[Tensor, "*shape"], branch: Branch, scale: Float32[Tensor, ""], dtype: torch.dtype = torch.float16
) -> Float32[Tensor, "*shape"]:
    """x + branch(x): the branch in ``dtype`` both ways, its backward pass multiplied by ``scale``.

    The gradients of x are the unscaled ones. Those of the branch's weights are ``scale`` times as large until
    ``dalle.training.scaling.unscale`` has seen them.
    """
    return x + _Leave.apply(branch(_Enter.apply(x, scale, dtype)), scale)


class _Enter(torch.autograd.Function):
    """Forward: into 16 bit. Backward: out of it, unscaled and filtered."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.scale = scale
        return x.to(dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return torch.nan_to_num(gradient.float() / ctx.scale, nan=0.0, posinf=0.0, neginf=0.0), None, None


class _Leave(torch.autograd.Function):
    """Forward: out of 16 bit. Backward: into it, scaled."""

    @staticmethod
    def forward(ctx, y: Tensor, scale: Tensor) -> Tensor:
        ctx.scale, ctx.dtype = scale, y.dtype
        return y.float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return (gradient * ctx.scale).to(ctx.dtype), None

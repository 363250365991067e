"""What both kinds of dVAE learn by: the density of pixels, relaxed codes, and their divergence (paper §2.1, §A.3)."""

from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPSILON = 0.1  # of the logit-Laplace map (paper §A.3)


def squeeze(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels in [0, 1] mapped into [ε, 1 - ε], where the logit is finite (paper §A.3)."""
    return (1 - 2 * EPSILON) * images + EPSILON


def unsqueeze(mu: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels in [0, 1] of a logit-Laplace location: the inverse map of its sigmoid, clamped."""
    return ((torch.sigmoid(mu) - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)


def logit_laplace(
    images: Float[Tensor, "*shape"], mu: Float[Tensor, "*shape"], log_scale: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """-ln of the logit-Laplace density of each subpixel, nats (paper eq. 2).

    f(x | μ, b) = exp(-|logit x - μ| / b) / (2 b x (1 - x)), x the squeezed pixel.
    """
    x = squeeze(images)
    return (torch.logit(x) - mu).abs() * torch.exp(-log_scale) + log_scale + log(2) + torch.log(x * (1 - x))


def gumbel_softmax(
    logits: Float[Tensor, "b k h w"], temperature: float, generator: torch.Generator
) -> Float[Tensor, "b k h w"]:
    """Relaxed one-hot codes (paper §2.1): softmax((logits + Gumbel noise) / τ) over the codes."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device).clamp_(1e-20, 1 - 1e-7)
    return F.softmax((logits - torch.log(-torch.log(uniform))) / temperature, dim=1)


def kl_to_uniform(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, ""]:
    """KL of the posterior over codes from the uniform prior, nats a cell: ln K - entropy, at least 0."""
    log_q = F.log_softmax(logits, dim=1)
    return log(logits.shape[1]) + (log_q.exp() * log_q).sum(1).mean()

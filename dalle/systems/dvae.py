"""The first stage: the dVAE, the pictures it learns from, and the paper's relaxed objective (§2.1, §A.2)."""

from math import cos, pi

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dalle.config.models import DVAE
from dalle.models.dvae import DiscreteVAE, gumbel_softmax, kl_to_uniform, logit_laplace
from dalle.systems.stage import Stage

KL_WARMUP = 0.1  # share of the updates in which the KL weight grows from 0


class DVAEStage(Stage):
    """Pictures, and minus their evidence lower bound with relaxed codes, in nats a subpixel."""

    def __init__(self, model: DiscreteVAE, pixels: UInt8[Tensor, "pictures 3 h w"], settings: DVAE) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self.examples = len(pixels)
        self.register_buffer("pixels", pixels, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Negative log-likelihood + β/(3f²) · KL a cell, f² pixels to a cell: both are nats a subpixel (paper §A.2)."""
        progress = step / self.settings.optimisation.steps
        images = self.pixels[indices].float() / 255
        logits = self.model.logits(images)
        codes = gumbel_softmax(logits, temperature(self.settings, progress), generator)
        mu, log_scale = self.model.decoder(codes)
        nats, kl = logit_laplace(images, mu, log_scale).mean(), kl_to_uniform(logits)
        subpixels = 3 * self.settings.downsample**2
        loss = nats + kl_weight(self.settings, progress) / subpixels * kl
        return loss, {"subpixel_nats": nats.detach(), "kl": kl.detach(), "perplexity": perplexity(logits.detach())}


def temperature(settings: DVAE, progress: float) -> float:
    """τ after the share ``progress`` of the updates: half a cosine from its first to its last value (paper §A.2)."""
    first, last = settings.temperature
    return last + (first - last) * (1 + cos(pi * progress)) / 2


def kl_weight(settings: DVAE, progress: float) -> float:
    """β after the share ``progress`` of the updates: half a cosine from 0 to its full height (paper §A.2)."""
    return settings.kl_weight * (1 - cos(pi * min(1.0, progress / KL_WARMUP))) / 2


def perplexity(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, ""]:
    """How many codes are in use: exp of the entropy of the batch's likeliest codes; it is small in a collapse."""
    counts = torch.bincount(logits.argmax(1).flatten(), minlength=logits.shape[1])
    shares = counts / counts.sum()
    return torch.exp(-torch.xlogy(shares, shares).sum())

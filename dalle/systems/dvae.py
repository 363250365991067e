"""The first stage: the dVAE, the pictures it learns from, and the paper's relaxed objective (§2.1, §A.2)."""

import logging
from math import inf, log10

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dalle.config.models import DVAE
from dalle.mapped import Mapped
from dalle.models.dvae import AnyDVAE, together
from dalle.models.likelihood import gumbel_softmax, kl_to_uniform, logit_laplace
from dalle.systems.schedule import remaining
from dalle.systems.stage import Stage

LOG = logging.getLogger(__name__)
KL_WARMUP = 0.1  # share of the updates in which the KL weight grows from 0, where no number of updates is set
JUDGED = 64  # pictures whose reconstruction is looked at while the dVAE learns
COLLAPSED = 1 / 32  # of the codes that could be in use, and fewer
Pictures = UInt8[Tensor, "pictures 3 h w"] | Mapped


class DVAEStage(Stage):
    """Pictures, and minus their evidence lower bound with relaxed codes, in nats a subpixel.

    ``pixels`` stay where they are, in memory or on the disk; what an update learns from goes to the model's device.
    """

    def __init__(self, model: AnyDVAE, pixels: Pictures, settings: DVAE) -> None:
        super().__init__()
        self.model, self.pixels, self.settings = model, pixels, settings
        self.examples, self.validated = len(pixels), min(JUDGED, len(pixels))

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Negative log-likelihood + β/(3f²) · KL a cell, f² pixels to a cell: both are nats a subpixel (paper §A.2)."""
        images = self.pixels[indices.cpu()].to(indices.device).float() / 255
        if self.settings.augmentation == "paper":
            images = mirrored(images, generator)
        logits = self.model.logits(images)
        codes = gumbel_softmax(logits, temperature(self.settings, step), generator)
        mu, log_scale = self.model.decoder(codes)
        nats, kl = logit_laplace(images, mu, log_scale).mean(), kl_to_uniform(logits)
        subpixels = 3 * self.model.downsample**2
        loss = nats + kl_weight(self.settings, step) / subpixels * kl
        return loss, {"subpixel_nats": nats.detach(), "kl": kl.detach(), "perplexity": perplexity(logits.detach())}

    def validate(self) -> dict[str, Float[Tensor, ""]]:
        """How well hard codes give back the first pictures, and as ``loss`` their squared error in pixels of 0 … 1.

        The dVAE learns from these, too: it has no others, and what it can do wrong is not to learn by heart.
        """
        device = next(self.model.parameters()).device
        pixels = self.pixels[: self.validated].to(device)
        facts = reconstruction(self.model, pixels)
        warn_of_collapse(self.model, facts["usage"], pixels)
        facts = {"loss": 10 ** (-facts["psnr"] / 10)} | facts
        return {what: torch.tensor(value, device=device) for what, value in facts.items()}


def mirrored(images: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """Every other picture, by chance, seen in a mirror (listing 1)."""
    heads = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 1 / 2
    return torch.where(heads, images.flip(-1), images)


def temperature(settings: DVAE, step: int) -> float:
    """τ at an update: a cosine from its first to its last value, and that from then on (paper §A.2)."""
    first, last = settings.temperature
    updates = settings.temperature_updates or settings.optimisation.steps
    return last + (first - last) * remaining(min(1.0, step / updates), settings.optimisation.cosine)


def kl_weight(settings: DVAE, step: int) -> float:
    """β at an update: a cosine from 0 to its full height, and that from then on (paper §A.2)."""
    share = step / settings.kl_updates if settings.kl_updates else step / settings.optimisation.steps / KL_WARMUP
    return settings.kl_weight * (1 - remaining(min(1.0, share), settings.optimisation.cosine))


def perplexity(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, ""]:
    """How many codes are in use: exp of the entropy of the batch's likeliest codes; it is small in a collapse."""
    return evenness(torch.bincount(logits.argmax(1).flatten(), minlength=logits.shape[1]))


def evenness(counts: Int64[Tensor, " codes"]) -> Float[Tensor, ""]:
    """exp of the entropy of the codes' frequencies: as many equally frequent codes would have it."""
    shares = counts / counts.sum()
    return torch.exp(-torch.xlogy(shares, shares).sum())


@torch.no_grad()
def reconstruction(model: AnyDVAE, pixels: UInt8[Tensor, "pictures 3 h w"]) -> dict[str, float]:
    """Of pictures after their likeliest codes: ``psnr`` (dB, of the squared error of all of them), ``usage``
    (the share of the codes that occur at all) and ``perplexity`` (how many, counted by their frequency)."""
    counts, squares = torch.zeros(model.num_codes, dtype=torch.int64, device=pixels.device), 0.0
    for some in pixels.split(together(*pixels.shape[2:])):
        images = some.float() / 255
        codes = model.encode(images)
        counts += torch.bincount(codes.flatten(), minlength=model.num_codes)
        squares += float((model.decode(codes) - images).square().sum())
    return {
        "psnr": -10 * log10(squares / pixels.numel()) if squares else inf,
        "usage": float((counts > 0).float().mean()),
        "perplexity": float(evenness(counts)),
    }


def warn_of_collapse(model: AnyDVAE, usage: float, pixels: UInt8[Tensor, "pictures 3 h w"]) -> None:
    """A warning where few of the codes that so many cells can have are in use; ``usage`` is the share of all codes."""
    cells = len(pixels) * (pixels.shape[2] // model.downsample) * (pixels.shape[3] // model.downsample)
    used = round(usage * model.num_codes)
    if used <= COLLAPSED * min(cells, model.num_codes):
        LOG.warning(
            "dvae: the codebook has collapsed: %d of %d codes are in use in %d pictures; raise kl_weight, let the "
            "temperature fall more slowly or, with architecture: patches, start from k-means",
            used,
            model.num_codes,
            len(pixels),
        )

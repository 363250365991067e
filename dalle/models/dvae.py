"""Stage 1, the discrete VAE: pictures to a grid of codes and back (paper §2.1, appendix A).

Each half is an interface plus a context network. The interfaces are linear: the encoder's scores every code for every
cell's own pixels, the decoder's lays one patch of pixels for every code. The context networks, residual and silent at
first, see the neighbourhood: which code is meant, and how the patches join. Linear interfaces can start from a k-means
codebook (codebook.py), which keeps a short training out of codebook collapse.
"""

from math import log
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8, UInt16
from torch import Tensor, nn

from dalle.config.models import DVAE
from dalle.images import to_float, to_uint8

BATCH = 64  # pictures that pass through the network together
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


def context(settings: DVAE, channels: int) -> nn.Sequential:
    """What each cell's surroundings say: from pixels to ``channels`` numbers a cell, all zero before training.

    Plain convolutions: with zero-initialised residual blocks in their place the same training learns half as much.
    """
    f, width = settings.downsample, settings.width
    layers: list[nn.Module] = [nn.PixelUnshuffle(f), nn.Conv2d(3 * f**2, width, 3, padding=1), nn.ReLU()]
    for _ in range(settings.blocks - 1):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    last = nn.Conv2d(width, channels, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class Encoder(nn.Module):
    """Logits over the codes for every cell, from the logits of squeezed pixels."""

    def __init__(self, settings: DVAE) -> None:
        super().__init__()
        self.interface = nn.Conv2d(3, settings.codes, settings.downsample, stride=settings.downsample)
        self.context = context(settings, settings.codes)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k gh gw"]:
        return self.interface(x) + self.context(x)


class Decoder(nn.Module):
    """Location and ln scale of the logit-Laplace distribution of every subpixel, from (relaxed) one-hot codes.

    The interface lays the codes' patches; the context redraws what was laid.
    """

    def __init__(self, settings: DVAE) -> None:
        super().__init__()
        f = settings.downsample
        self.min_log_scale = settings.min_log_scale
        self.interface = nn.Sequential(nn.Conv2d(settings.codes, 3 * f**2, 1), nn.PixelShuffle(f))
        self.context = nn.Sequential(*context(settings, 6 * f**2), nn.PixelShuffle(f))

    def forward(self, codes: Float[Tensor, "b k gh gw"]) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
        laid = self.interface(codes)
        correction, log_scale = self.context(laid).chunk(2, dim=1)
        return laid + correction, log_scale.clamp(min=self.min_log_scale)


class DiscreteVAE(nn.Module):
    """Encoder and decoder, and the two roads through them: hard codes for use, relaxed ones for training."""

    def __init__(self, settings: DVAE) -> None:
        super().__init__()
        self.encoder = Encoder(settings)
        self.decoder = Decoder(settings)
        self.num_codes = settings.codes

    def logits(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k gh gw"]:
        """Unnormalised log posterior over the codes of every cell."""
        return self.encoder(torch.logit(squeeze(images)))

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Int[Tensor, "b gh gw"]:
        """The likeliest code of every cell: what the prior learns (paper §2.2: no noise)."""
        return self.logits(images).argmax(1)

    def decode(self, codes: Int[Tensor, "b gh gw"]) -> Float[Tensor, "b 3 h w"]:
        """Pictures in [0, 1]: the locations' pixels, without noise (paper §A.3)."""
        one_hot = F.one_hot(codes.long(), self.num_codes).permute(0, 3, 1, 2).float()
        return unsqueeze(self.decoder(one_hot)[0])


def load_dvae(folder: str | Path, weights: str = "weights") -> DiscreteVAE:
    """The dVAE that training left in ``folder``, ready for use; ``weights="start"`` is the one before training."""
    from safetensors.torch import load_file

    folder = Path(folder)
    model = DiscreteVAE(DVAE.model_validate_json((folder / "model.json").read_text()))
    model.load_state_dict(load_file(folder / f"{weights}.safetensors"))
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.inference_mode()
def encode_pictures(dvae: DiscreteVAE, pixels: UInt8[np.ndarray, "n h w 3"]) -> UInt16[np.ndarray, "n grid grid"]:
    """The likeliest code of every cell of every picture."""
    starts = range(0, len(pixels), BATCH)
    grids = [dvae.encode(to_float(pixels[start : start + BATCH])).to(torch.uint16).numpy() for start in starts]
    return np.concatenate(grids)


@torch.inference_mode()
def decode_codes(dvae: DiscreteVAE, codes: UInt16[np.ndarray, "n ..."]) -> UInt8[np.ndarray, "n h w 3"]:
    """The picture of every grid of codes; a grid may be flat, as candidates are stored."""
    starts = range(0, len(codes), BATCH)
    side = codes.shape[-1] if codes.ndim == 3 else round(codes.shape[-1] ** 0.5)
    grids = torch.from_numpy(codes.astype(np.int64)).view(-1, side, side)
    return np.concatenate([to_uint8(dvae.decode(grids[start : start + BATCH])) for start in starts])

"""Stage 1, the discrete VAE: pictures to a grid of codes and back (paper §2.1, appendix A).

Two networks with one interface: OpenAI's (published_dvae.py), and the small one here. Each half of this one is an
interface plus a context network. The interfaces are linear: the encoder's scores every code for every cell's own
pixels, the decoder's lays one patch of pixels for every code. The context networks, residual and silent at first, see
the neighbourhood: which code is meant, and how the patches join. Linear interfaces can start from a k-means codebook
(codebook.py), which keeps a short training out of codebook collapse.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8, UInt16
from torch import Tensor, nn

from dalle.config.models import DVAE
from dalle.device import best_device
from dalle.images import to_float, to_uint8
from dalle.models.likelihood import squeeze, unsqueeze
from dalle.models.published_dvae import PublishedDVAE, PublishedShape, read_shape

MOST = 64  # pictures that pass through the network at a time
PIXELS = MOST * 64**2  # that do: 4 pictures of 256 pixels, which take 1.5 GB in OpenAI's network beside its weights


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
        return laid + correction, log_scale if self.min_log_scale is None else log_scale.clamp(min=self.min_log_scale)


class DiscreteVAE(nn.Module):
    """Encoder and decoder, and the two roads through them: hard codes for use, relaxed ones for training."""

    def __init__(self, settings: DVAE) -> None:
        super().__init__()
        self.encoder = Encoder(settings)
        self.decoder = Decoder(settings)
        self.num_codes, self.downsample = settings.codes, settings.downsample

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


AnyDVAE = DiscreteVAE | PublishedDVAE


def make_dvae(settings: DVAE) -> AnyDVAE:
    """The untrained dVAE of these settings; of the shape of ``settings.weights`` if they name any."""
    if settings.architecture == "patches":
        return DiscreteVAE(settings)
    if settings.weights is not None:
        return PublishedDVAE(read_shape(settings.weights))
    shape = PublishedShape(settings.codes, settings.width, settings.code_width, settings.blocks)
    return PublishedDVAE(shape, settings.min_log_scale)


def load_dvae(folder: str | Path, weights: str = "weights") -> AnyDVAE:
    """The dVAE of ``folder``, trained or imported, ready for use; ``weights="start"`` is the one before training.

    What it is stands in ``model.json``: the settings it was trained with, or that it is a published one.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = PublishedDVAE(read_shape(folder)) if "kind" in facts else make_dvae(DVAE.model_validate(facts))
    model.load_state_dict(load_file(folder / f"{weights}.safetensors"), assign=True)
    layout = torch.channels_last if isinstance(model, DiscreteVAE) else torch.contiguous_format  # each the faster one
    return model.eval().requires_grad_(False).to(memory_format=layout)


def ready_dvae(folder: str | Path, weights: str = "weights") -> AnyDVAE:
    """:func:`load_dvae`, on the GPU if there is one: to encode and decode with."""
    return load_dvae(folder, weights).to(best_device())


@torch.inference_mode()
def encode_pictures(dvae: AnyDVAE, pixels: UInt8[np.ndarray, "n h w 3"]) -> UInt16[np.ndarray, "n grid grid"]:
    """The likeliest code of every cell of every picture, where the dVAE is."""
    batch, device = together(*pixels.shape[1:3]), _device_of(dvae)
    starts = range(0, len(pixels), batch)
    grids = (dvae.encode(to_float(pixels[start : start + batch]).to(device)).cpu() for start in starts)
    return np.concatenate([grid.to(torch.uint16).numpy() for grid in grids])


@torch.inference_mode()
def decode_codes(dvae: AnyDVAE, codes: UInt16[np.ndarray, "n ..."]) -> UInt8[np.ndarray, "n h w 3"]:
    """The picture of every grid of codes, where the dVAE is; a grid may be flat, as candidates are stored."""
    side = codes.shape[-1] if codes.ndim == 3 else round(codes.shape[-1] ** 0.5)
    grids, device = torch.from_numpy(codes.astype(np.int64)).view(-1, side, side), _device_of(dvae)
    batch = together(side * dvae.downsample, side * dvae.downsample)
    starts = range(0, len(codes), batch)
    return np.concatenate([to_uint8(dvae.decode(grids[start : start + batch].to(device))) for start in starts])


def _device_of(dvae: AnyDVAE) -> torch.device:
    return next(dvae.parameters()).device


def together(height: int, width: int) -> int:
    """How many pictures of this size pass through the network at a time: memory grows with their pixels."""
    return min(MOST, max(1, PIXELS // (height * width)))

"""A codebook before any gradient: k-means of the pictures' own patches, where hue counts more than brightness.

Cells at the edge of a thing differ by the ground behind it too. Compared by plain distance, a dark and a light ground
are further apart than a circle's corner and a square's, and codes are spent on grounds. Things differ from grounds in
hue: with brightness turned down, codes are spent on things, and their patches carry an average ground. Redrawing that
from the neighbouring cells is what training then learns.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from dalle.mapped import Mapped
from dalle.models.dvae import DiscreteVAE
from dalle.models.likelihood import squeeze

BRIGHTNESS = 0.12  # what a difference in brightness counts, beside one in hue
SHARPNESS = 10.0  # the first posterior's logits: minus this times half the squared distance
PICTURES = 4000  # that patches are taken from
PATCHES = 40_000  # that the codes are the means of
ROUGH = 128  # clusters of the first, rough pass


@torch.no_grad()
def start_from_patches(model: DiscreteVAE, pixels: UInt8[Tensor, "pictures 3 h w"] | Mapped, seed: int) -> None:
    """Every code of ``model`` begins as a patch: the encoder finds the nearest one, the decoder lays it.

    Raises ValueError for fewer patches than codes.
    """
    f = model.encoder.interface.kernel_size[0]
    patches = kmeans_patches(pixels, f, model.num_codes, seed)
    seen = perceived(patches)
    model.encoder.interface.weight.copy_(SHARPNESS * perceived(seen).view(-1, 3, f, f))
    model.encoder.interface.bias.copy_(-SHARPNESS / 2 * (seen**2).sum(1))
    model.decoder.interface[0].weight.copy_(patches.T[..., None, None])
    model.decoder.interface[0].bias.zero_()


def perceived(patches: Float[Tensor, "n dim"], brightness: float = BRIGHTNESS) -> Float[Tensor, "n dim"]:
    """Patches in the space where they are compared: each pixel's mean over its colour channels times ``brightness``."""
    channels = patches.view(len(patches), 3, -1)
    mean = channels.mean(1, keepdim=True)
    return (channels - mean + brightness * mean).flatten(1)


def kmeans_patches(
    pixels: UInt8[Tensor, "pictures 3 h w"] | Mapped, downsample: int, num: int, seed: int
) -> Float[Tensor, "num dim"]:
    """``num`` patches, as logits of squeezed pixels [3·f²], that stand for all patches of the pictures.

    Most patches are ground. So a rough clustering comes first, and the patches that the codes are means of are drawn
    evenly from its clusters: rare content gets codes of its own.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(pixels), min(PICTURES, len(pixels)), replace=False))
    logits = torch.logit(squeeze(pixels[torch.from_numpy(chosen)].float() / 255))
    patches = F.unfold(logits, downsample, stride=downsample).transpose(1, 2).flatten(0, 1)
    if len(patches) < num:
        raise ValueError(f"{num} codes cannot be made of {len(patches)} patches; use fewer codes or more pictures")
    seen = perceived(patches).numpy()
    rough = _cluster(seen[rng.permutation(len(seen))[:PATCHES]], min(ROUGH, num), seed).predict(seen)
    weights = 1 / np.bincount(rough)[rough]
    drawn = rng.choice(len(seen), min(PATCHES, len(seen)), replace=False, p=weights / weights.sum())
    centres = torch.from_numpy(_cluster(seen[drawn], num, seed).cluster_centers_).float()
    return perceived(centres, 1 / BRIGHTNESS)


def _cluster(points: Float[np.ndarray, "n dim"], num: int, seed: int) -> MiniBatchKMeans:
    return MiniBatchKMeans(num, batch_size=4096, n_init=1, max_iter=40, random_state=seed % 2**32).fit(points)

"""A codebook before any gradient: k-means of the pictures' own patches."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from dalle.models.dvae import squeeze

PICTURES = 4000  # that patches are taken from
PATCHES = 40_000  # that the codes are the means of
ROUGH = 128  # clusters of the first, rough pass


def kmeans_patches(
    pixels: UInt8[Tensor, "pictures 3 h w"], downsample: int, num: int, seed: int
) -> Float[Tensor, "num dim"]:
    """``num`` patches, as logits of squeezed pixels, that stand for all patches of the pictures.

    Most patches are background. So a rough clustering comes first, and the patches that the codes are made of are drawn
    evenly from its clusters: rare content gets codes of its own. Raises ValueError for fewer patches than codes.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(pixels), min(PICTURES, len(pixels)), replace=False))
    logits = torch.logit(squeeze(pixels[chosen].float() / 255))
    patches = F.unfold(logits, downsample, stride=downsample).transpose(1, 2).flatten(0, 1).numpy()
    if len(patches) < num:
        raise ValueError(f"{num} codes cannot be made of {len(patches)} patches; use fewer codes or more pictures")
    rough = _cluster(patches[rng.permutation(len(patches))[:PATCHES]], min(ROUGH, num), seed).predict(patches)
    weights = 1 / np.bincount(rough)[rough]
    drawn = rng.choice(len(patches), min(PATCHES, len(patches)), replace=False, p=weights / weights.sum())
    return torch.from_numpy(_cluster(patches[drawn], num, seed).cluster_centers_).float()


def _cluster(patches: Float[np.ndarray, "n dim"], num: int, seed: int) -> MiniBatchKMeans:
    return MiniBatchKMeans(num, batch_size=4096, n_init=1, max_iter=40, random_state=seed % 2**32).fit(patches)

"""Gaussian blur of both sides of a comparison (DALL·E 1, figure 9a and b)."""

import torch
from jaxtyping import Float
from torch import Tensor

SIDE = 256  # pixels: the size of picture in which a blur radius is counted
TRUNCATE = 4.0  # the kernel ends this many σ from its middle; beyond lie 6e-5 of the weight


def blur(images: Float[Tensor, "n 3 side side"], radius: float) -> Float[Tensor, "n 3 side side"]:
    """Pictures under a Gaussian filter whose σ is ``radius`` pixels of a 256-pixel one: ``radius · side / 256`` here.

    Float pixels in, float pixels out: nothing is rounded to 256 levels. Radius 0 gives the pictures untouched. Beyond
    the border the nearest pixel is repeated, and the kernel is cut at 4 σ. The paper says "radius" and does not define
    it; σ is how Pillow's ``GaussianBlur`` takes the word.
    """
    if radius == 0:
        return images
    from scipy.ndimage import gaussian_filter

    sigma = radius * images.shape[-1] / SIDE
    blurred = gaussian_filter(images.numpy(), sigma=(0, 0, sigma, sigma), mode="nearest", truncate=TRUNCATE)
    return torch.from_numpy(blurred)

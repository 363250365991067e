"""Gaussian blur of both sides of a comparison (DALL·E 1, figure 9a and b).

The paper says "radius" and does not define it. Two readings are in use, and they differ by a factor of about two: see
``blur.pil`` and ``blur.lafite`` in eval/protocols.
"""

from math import sqrt

import numpy as np
from jaxtyping import UInt8

from eval.protocols.protocol import BlurProtocol

Picture = UInt8[np.ndarray, "h w 3"]


def blur(picture: Picture, radius: float, protocol: BlurProtocol) -> Picture:
    """The picture under a Gaussian filter, rounded to 256 levels. Radius 0 gives the picture itself.

    ``radius`` counts in a picture whose shorter side has ``protocol.unit_side`` pixels; here it is scaled by
    (shorter side) / ``unit_side``. Raises ValueError for a negative radius, and for one that the protocol cannot
    express in this picture's pixels.
    """
    if radius < 0:
        raise ValueError(f"blur radius {radius:g}: allowed are radii from 0 on")
    if radius == 0:
        return picture
    effective = radius * min(picture.shape[:2]) / protocol.unit_side
    return _pillow(picture, effective) if protocol.sigma == "radius" else _box_equivalent(picture, effective, protocol)


def _pillow(picture: Picture, sigma: float) -> Picture:
    """Three box filters with the Gaussian's σ; beyond the border the nearest pixel is repeated."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def _box_equivalent(picture: Picture, effective: float, protocol: BlurProtocol) -> Picture:
    """A Gaussian of 2k + 1 pixels with the σ of a box of that width. It ends at 2 σ: what is left has less."""
    import torch
    from torchvision.transforms.functional import gaussian_blur

    k = round(effective)
    if abs(k - effective) > 1e-9:
        raise ValueError(
            f"{protocol.label}: the blur radius is {effective:g} pixels in a picture whose shorter side has "
            f"{min(picture.shape[:2])}; allowed are whole numbers (blur.pil takes any)"
        )
    width = 2 * k + 1
    channels_first = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    blurred = gaussian_blur(channels_first, kernel_size=[width, width], sigma=[sqrt((width**2 - 1) / 12)] * 2)
    return blurred.permute(1, 2, 0).numpy()

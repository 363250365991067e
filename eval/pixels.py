"""From uint8 pictures to what a network takes: crop, resize kernel, normalisation, each under the name it has in the
protocols. Kernels that look alike differ by several points of FID, so nothing here has a default.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

Picture = UInt8[np.ndarray, "_ _ 3"]  # pictures of one call may differ in size
Stack = UInt8[np.ndarray, "n h w 3"]
Levels = Float32[Tensor, "n 3 side side"]  # 0 … 255, not necessarily whole

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of R, G, B in [0, 1]
OPENAI_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def crop(picture: Picture, how: str) -> UInt8[np.ndarray, "crop_h crop_w 3"]:
    """``centre``: the largest centred square, the odd pixel left out at the end; ``squeeze``: the whole picture.

    A picture that is cropped already stays as it is. Raises ValueError for another ``how``.
    """
    if how not in ("centre", "squeeze"):
        raise ValueError(f"crop {how!r} is unknown; allowed are centre, squeeze")
    height, width, _ = picture.shape
    if how == "squeeze" or height == width:
        return picture
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def resize(pictures: Sequence[Picture], side: int, kernel: str) -> Levels:
    """Pictures of any sizes as squares, through a kernel of ``KERNELS``; a picture's square is that of it alone."""
    one_size = len({picture.shape for picture in pictures}) == 1
    stacks = [np.stack(pictures)] if one_size else [np.stack([picture]) for picture in pictures]
    return torch.cat([KERNELS[kernel](stack, side) for stack in stacks])


def _channels_first(stack: Stack) -> Float32[Tensor, "n 3 h w"]:
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float()


def tf1_bilinear(stack: Stack, side: int) -> Levels:
    """TensorFlow 1's ``resize_bilinear``: no antialiasing, and grids that meet at the corner, not at the middle."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(_channels_first(stack), (side, side), align_corners=False)


def torch_bilinear_antialias(stack: Stack, side: int) -> Levels:
    """PyTorch's antialiased bilinear kernel on floats: Pillow's, but nothing is rounded."""
    interpolate = torch.nn.functional.interpolate
    return interpolate(_channels_first(stack), (side, side), mode="bilinear", antialias=True, align_corners=False)


def pil_bilinear(stack: Stack, side: int) -> Levels:
    """Pillow's antialiased bilinear kernel, rounded to whole levels after either direction."""
    return _pillow_whole(stack, side, Image.Resampling.BILINEAR)


def pil_bicubic(stack: Stack, side: int) -> Levels:
    """Pillow's antialiased bicubic kernel, rounded to whole levels after either direction."""
    return _pillow_whole(stack, side, Image.Resampling.BICUBIC)


def _pillow_whole(stack: Stack, side: int, kernel: Image.Resampling) -> Levels:
    resized = [np.asarray(Image.fromarray(picture).resize((side, side), kernel)) for picture in stack]
    return _channels_first(np.stack(resized))


def pil_bicubic_float(stack: Stack, side: int) -> Levels:
    """Pillow's antialiased bicubic kernel on each channel in float32, cut to 0 … 255 and not rounded (clean-fid)."""
    channels = torch.from_numpy(stack).permute(0, 3, 1, 2).reshape(-1, *stack.shape[1:3]).float().numpy()
    kernel = Image.Resampling.BICUBIC
    resized = np.stack([np.asarray(Image.fromarray(channel).resize((side, side), kernel)) for channel in channels])
    return torch.from_numpy(resized).clamp_(0, 255).reshape(-1, 3, side, side)


KERNELS: dict[str, Callable[[Stack, int], Levels]] = {
    "tf1-bilinear": tf1_bilinear,
    "pil-bilinear": pil_bilinear,
    "pil-bicubic": pil_bicubic,
    "pil-bicubic-float": pil_bicubic_float,
    "torch-bilinear-antialias": torch_bilinear_antialias,
}


def _of_channels(values: tuple[float, ...]) -> Float32[Tensor, "3 1 1"]:
    return torch.tensor(values).reshape(3, 1, 1)


def standardise(levels: Levels, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Levels:
    """Zero mean and unit variance for a data set whose pixels in [0, 1] have these ``statistics``."""
    mean, std = map(_of_channels, statistics)
    return (levels / 255 - mean) / std


def dmgan_2018(levels: Levels) -> Levels:
    """What pytorch-fid did until February 2019, and DM-GAN's code ever since: [0, 1] mapped to about [-0.2, 0.4].

    The formula turns pixels that were standardised for ImageNet into [-1, 1]. These never were.
    """
    mean, std = map(_of_channels, IMAGENET)
    return levels / 255 * (std / 0.5) + (mean - 0.5) / 0.5


NORMALISATIONS: dict[str, Callable[[Levels], Levels]] = {
    "inception-tf": lambda levels: (levels - 128) / 128,
    "inception-dmgan-2018": dmgan_2018,
    "efficientnet-lite": lambda levels: (levels - 127) / 128,
    "imagenet": lambda levels: standardise(levels, IMAGENET),
    "openai-clip": lambda levels: standardise(levels, OPENAI_CLIP),
}

"""Which square of a photograph is taken: in the middle for references, by chance for training (paper, listings 1, 2).

The paper's sizes, which are for pictures of 256 pixels, are scaled to ``side``. Pictures are Pillow's, in RGB.
"""

import numpy as np
from jaxtyping import UInt8
from PIL.Image import Image, Resampling

Square = UInt8[np.ndarray, "side side 3"]
Box = tuple[float, float, float, float]  # left, top, width, height, in pixels of the picture


def centred(picture: Image, side: int) -> Square:
    """The largest centred square (the odd pixel left out at the end), by Pillow's antialiased bicubic kernel.

    A picture of this size stays as it is.
    """
    shorter = min(picture.size)
    left, top = ((length - shorter) // 2 for length in picture.size)
    middle = picture.crop((left, top, left + shorter, top + shorter))
    return np.array(middle if shorter == side else middle.resize((side, side), Resampling.BICUBIC))


def for_prior(picture: Image, side: int, rng: np.random.Generator) -> Square:
    """Listing 2: a square near the middle, made at most 9/8 of ``side``, and a part of it by chance.

    Never mirrored: there may be letters in it.
    """
    start = rng.uniform(3 / 8, 5 / 8)
    left, top = (round(start * (length - min(picture.size))) for length in picture.size)
    return _part(picture, (left, top), side, (1, 9 / 8), rng)


def for_dvae(picture: Image, side: int, rng: np.random.Generator) -> Square:
    """Listing 1: a square anywhere, made 9/8 to 3/2 of ``side``, and a part of it by chance, mirrored by chance."""
    left, top = (int(rng.integers(0, length - min(picture.size) + 1)) for length in picture.size)
    square = _part(picture, (left, top), side, (9 / 8, 3 / 2), rng)
    return square[:, ::-1].copy() if rng.random() < 1 / 2 else square


def _part(
    picture: Image, corner: tuple[int, int], side: int, factors: tuple[float, float], rng: np.random.Generator
) -> Square:
    """The largest square at ``corner``, resized by area to a side drawn between ``side`` × ``factors``; a part of it.

    The resized side is never more than the square's, unless that is less than ``side``: then it is ``side``, and the
    kernel is the one of :func:`centred`.
    """
    shorter = min(picture.size)
    low, high = (max(side, min(shorter, round(factor * side))) for factor in factors)
    resized = int(rng.integers(low, high + 1))
    scale = shorter / resized
    left, top = (start + int(rng.integers(0, resized - side + 1)) * scale for start in corner)
    right, bottom = min(left + side * scale, picture.width), min(top + side * scale, picture.height)
    kernel = Resampling.BOX if resized <= shorter else Resampling.BICUBIC
    return np.array(picture.resize((side, side), kernel, (left, top, right, bottom)))


def shrink(picture: Image, side: int) -> Image:
    """The whole picture with ``side`` pixels in its shorter side, never enlarged, by the kernel of :func:`centred`."""
    scale = side / min(picture.size)
    size = tuple(max(side, round(length * scale)) for length in picture.size)
    return picture if scale >= 1 else picture.resize(size, Resampling.BICUBIC)


def around_box(picture: Image, box: Box) -> Image:
    """What AttnGAN's loaders cut out around a bird: 3/4 of the box's longer side to each side of its middle.

    What lies outside the picture is left out. The whole picture for a box that does not touch it.
    """
    left, top, width, height = box
    reach = int(0.75 * max(width, height))
    x, y = int((2 * left + width) / 2), int((2 * top + height) / 2)
    right, bottom = min(picture.width, x + reach), min(picture.height, y + reach)
    left, top = max(0, x - reach), max(0, y - reach)
    return picture.crop((left, top, right, bottom)) if left < right and top < bottom else picture


def is_inside(picture: Image, box: Box) -> bool:
    """Whether a box lies in the picture, up to a pixel."""
    left, top, width, height = box
    return min(left, top) >= -1 and left + width <= picture.width + 1 and top + height <= picture.height + 1

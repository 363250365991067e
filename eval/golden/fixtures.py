"""The fixtures, and what is computed of them: ``make.py`` keeps these numbers, the checks find them again."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from dalle.images import decode_picture
from eval.extractors import load_extractor
from eval.metrics.inception_score import inception_score
from eval.pixels import KERNELS, Picture, resize
from eval.protocols.protocol import FidProtocol, load_protocol
from eval.stats import draw_counts

FOLDER = Path(__file__).parent
SUMS = "SHA256SUMS"
ODD, PHOTO = "odd.png", "flower.png"  # 29 × 37 pixels of edges and extremes, 160 × 160 of a photograph
CAPTION = "an orange flower in front of dark green leaves"  # of the photograph
FILES = {  # what strangers' files are like → is it lossy?
    "rotated.jpg": True,
    "grey16.png": False,
    "cmyk.jpg": True,
    "palette.png": False,
    "exact.webp": False,
    "lossy.webp": True,
}
SIDES = (17, 41)  # a smaller and a larger square than the odd picture
SPLITS, SHUFFLE_SEED = 10, 2020
PROMPTS, REPLICATES, SEED = 12, 50, 2020  # of the bootstrap
Arrays = dict[str, Shaped[np.ndarray, "..."]]


def fixture(name: str) -> bytes:
    """The bytes of a fixture. Raises ValueError if it is not there."""
    path = FOLDER / name
    if not path.is_file():
        raise ValueError(f"fixture {name} is missing")
    return path.read_bytes()


def picture(name: str) -> Picture:
    """The pixels of a fixture that is a picture."""
    return decode_picture(fixture(name), name)[0]


def numbers(name: str) -> Arrays:
    """The committed numbers ``{name}.safetensors``. Raises ValueError for a file that does not hold any."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    file = f"{name}.safetensors"
    try:
        return load(fixture(file))
    except SafetensorError as error:
        raise ValueError(f"fixture {file} cannot be read ({error})") from None


def resized(*kernels: str) -> dict[str, Float32[np.ndarray, "3 side side"]]:
    """The odd picture through these kernels (none: all), as levels of 256: ``pil-bicubic 17``, …"""
    odd = picture(ODD)
    pairs = product(kernels or KERNELS, SIDES)
    return {f"{kernel} {side}": resize([odd], side, kernel)[0].numpy() for kernel, side in pairs}


def decoded() -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """The pixels of strangers' files, by their names."""
    return {name: picture(name) for name in FILES}


def seen(weights: str | Path | None = None) -> dict[str, Float32[np.ndarray, "2 dim"]]:
    """Features and logits of the odd picture and of the photograph by the network that needs no download."""
    extractor = load_extractor(load_protocol("fid.imagenet-lite", FidProtocol), weights)
    features, logits = extractor([picture(ODD), picture(PHOTO)])
    return {"features": features, "logits": logits}


def scored() -> Arrays:
    """Mean and standard deviation of the Inception Score of the sorted logits: in their order, and shuffled."""
    logits = numbers("logits")["logits"]
    seeds = {"sorted": None, "shuffled": SHUFFLE_SEED}
    return {name: np.array(inception_score(logits, SPLITS, seed)) for name, seed in seeds.items()}


def resampled() -> dict[str, Int64[np.ndarray, "replicates n"]]:
    """How often each prompt is drawn in each resample."""
    return {"counts": draw_counts(PROMPTS, REPLICATES, SEED)}


NUMBERS: dict[str, Callable[[], Arrays]] = {
    "kernels": resized,
    "decoded": decoded,
    "features": seen,
    "scores": scored,
    "resamples": resampled,
}

"""Writes every fixture anew: ``python -m eval.golden.make``, by hand, when a protocol's meaning has changed.

The numbers are those of the code as it stands, so they are checked here against other roads to them: kernels against
Pillow, torchvision and the formula, decoded files against what was drawn into them. Raises ValueError where two roads
part. Other releases of Pillow and libjpeg may write other bytes for the same picture: then all numbers change with
them, and ``git diff`` tells so.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt16
from PIL import Image

from dalle.provenance import atomic, file_digest
from eval.golden import fixtures
from eval.golden.fixtures import FILES, FOLDER, NUMBERS, ODD, PHOTO, SUMS, Arrays
from eval.pixels import Picture

HEIGHT, WIDTH = 16, 24  # of the files to be decoded
TURN_RIGHT = 6  # EXIF's number for a picture to be shown turned by 90° clockwise


def main() -> None:
    """Pictures, numbers, digests, in this order: each follows from the one before."""
    Image.fromarray(odd()).save(FOLDER / ODD, optimize=True)
    photograph().save(FOLDER / PHOTO, optimize=True)
    for name, (write, _) in strangers().items():
        write(FOLDER / name)
    save("logits", {"logits": sorted_logits()})
    for name, compute in NUMBERS.items():
        save(name, compute())
    compare_kernels()
    compare_decoded()
    names = [ODD, PHOTO, *FILES, "logits.safetensors", *(f"{name}.safetensors" for name in NUMBERS)]
    lines = [f"{file_digest(FOLDER / name)}  {name}\n" for name in sorted(names)]
    (FOLDER / SUMS).write_text("".join(lines), encoding="utf-8")


def save(name: str, arrays: Arrays) -> None:
    """As the fixture ``{name}.safetensors``."""
    from safetensors.numpy import save_file

    with atomic(FOLDER / f"{name}.safetensors") as temporary:  # safetensors makes files that nobody else may read
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, temporary)


def odd() -> Picture:
    """29 × 37 pixels: a gradient, a hard diagonal edge, black and white single pixels, coloured lines."""
    rows, columns = np.mgrid[:29, :37]
    pixels = np.stack([7 * columns, 9 * rows, 255 - 7 * columns], axis=-1) % 256
    pixels[rows > columns] = (250, 30, 5)
    checks = (rows // 2 + columns) % 2 * 255
    corner = (rows < 12) & (columns > 20)
    pixels[corner] = checks[corner][:, None]
    pixels[20] = (0, 255, 255)
    pixels[:, 30] = (255, 0, 255)
    return pixels.astype(np.uint8)


def photograph() -> Image.Image:
    """The blossom in scikit-learn's "flower.jpg", 160 × 160: larger than what the network takes."""
    from sklearn.datasets import load_sample_image

    whole = Image.fromarray(load_sample_image("flower.jpg"))
    return whole.crop((107, 0, 534, 427)).resize((160, 160), Image.Resampling.LANCZOS)


def smooth() -> Picture:
    """16 × 24 pixels of slow gradients: lossy files and their decoders agree on these within a few levels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([10 * columns, 15 * rows, 230 - 5 * rows - 5 * columns], axis=-1).astype(np.uint8)


def grey16() -> UInt16[np.ndarray, "16 24"]:
    """Levels of 16 bits, among them some just below and above the middle between two of 8 bits."""
    levels = 257 * np.arange(HEIGHT * WIDTH) % 65536
    return (
        (levels + np.resize([0, 128, -128, 129, -129], HEIGHT * WIDTH))
        .clip(0, 65535)
        .astype(np.uint16)
        .reshape(HEIGHT, WIDTH)
    )


def strangers() -> dict[str, tuple[Callable[[Path], None], UInt8[np.ndarray, "_ _ 3"]]]:
    """How each file is written, and the picture that is in it."""
    rgb, exif = Image.fromarray(smooth()), Image.Exif()
    exif[0x0112] = TURN_RIGHT
    cmyk = np.dstack([smooth(), np.full((HEIGHT, WIDTH), 60, np.uint8)])
    ink = 255.0 - cmyk
    palette, over_white = _palette()
    jpeg = {"quality": 95, "subsampling": 0}
    return {
        "rotated.jpg": (lambda path: rgb.save(path, exif=exif, **jpeg), np.rot90(smooth(), -1)),
        "grey16.png": (Image.fromarray(grey16()).save, np.rint(grey16() / 257)[..., None].repeat(3, 2)),
        "cmyk.jpg": (lambda path: Image.fromarray(cmyk, "CMYK").save(path, **jpeg), ink[..., :3] * ink[..., 3:] / 255),
        "palette.png": (lambda path: palette.save(path, transparency=bytes([255, 51, 0])), over_white),
        "exact.webp": (lambda path: rgb.save(path, lossless=True), smooth()),
        "lossy.webp": (lambda path: rgb.save(path, quality=95), smooth()),
    }


def _palette() -> tuple[Image.Image, UInt8[np.ndarray, "_ _ 3"]]:
    """Three colours, one of them with a fifth of its opacity and one with none; and what this is over white."""
    image = Image.fromarray((np.indices((HEIGHT, WIDTH)).sum(axis=0) % 3).astype(np.uint8))
    image.putpalette([100, 0, 0, 0, 50, 0, 9, 9, 9])
    return image, np.array([[100, 0, 0], [204, 214, 204], [255, 255, 255]], np.uint8)[np.asarray(image)]


def sorted_logits() -> Float32[np.ndarray, "205 10"]:
    """Class scores of pictures that are sorted by their kind; 10 splits do not divide their number."""
    kinds = np.arange(205) * 10 // 205
    noise = np.random.default_rng(0).normal(size=(205, 10))
    return (4 * np.eye(10)[kinds] + noise).astype(np.float32)


def compare_kernels() -> None:
    """Raises ValueError where a kernel's numbers are not those of another road."""
    for name, levels in fixtures.numbers("kernels").items():
        kernel, side = name.split()
        gap = np.abs(ROADS[kernel](odd(), int(side)) - levels).max()
        if gap > 1e-3:
            raise ValueError(f"{name}: {gap:g} levels away from the other road; allowed is 0.001")


def compare_decoded() -> None:
    """Raises ValueError where a decoded file is not what was drawn into it."""
    found = fixtures.numbers("decoded")
    for name, (_, drawn) in strangers().items():
        gap = np.abs(found[name] - drawn.astype(float)).max()
        if gap > (15 if FILES[name] else 0):
            raise ValueError(f"{name}: decoded {gap:g} levels away from what was drawn")


def _torchvision(mode: str) -> Callable[[Picture, int], Float[np.ndarray, "3 side side"]]:
    from torchvision.transforms.functional import InterpolationMode, resize

    def levels(pixels: Picture, side: int) -> Float[np.ndarray, "3 side side"]:
        squeezed = resize(Image.fromarray(pixels), [side, side], InterpolationMode[mode])
        return np.asarray(squeezed).transpose(2, 0, 1).astype(float)

    return levels


def _pillow_float(mode: str) -> Callable[[Picture, int], Float[np.ndarray, "3 side side"]]:
    def levels(pixels: Picture, side: int) -> Float[np.ndarray, "3 side side"]:
        channels = [Image.fromarray(channel) for channel in pixels.transpose(2, 0, 1).astype(np.float32)]
        squeezed = [channel.resize((side, side), Image.Resampling[mode]) for channel in channels]
        return np.stack([np.asarray(channel) for channel in squeezed]).clip(0, 255)

    return levels


def _without_half_pixels(pixels: Picture, side: int) -> Float[np.ndarray, "3 side side"]:
    """TensorFlow 1: pixel i that comes out lies at i · (size that goes in) / side, between that pixel and the next."""
    for axis in (0, 1):
        size = pixels.shape[axis]
        places = np.arange(side) * size / side
        low = places.astype(int)
        share = np.expand_dims(places - low, [1, 2] if axis == 0 else [0, 2])
        following = np.minimum(low + 1, size - 1)
        pixels = pixels.take(low, axis) * (1 - share) + pixels.take(following, axis) * share
    return pixels.transpose(2, 0, 1)


ROADS = {
    "tf1-bilinear": _without_half_pixels,
    "torch-bilinear-antialias": _pillow_float("BILINEAR"),
    "pil-bilinear": _torchvision("BILINEAR"),
    "pil-bicubic": _torchvision("BICUBIC"),
    "pil-bicubic-float": _pillow_float("BICUBIC"),
}

if __name__ == "__main__":
    main()

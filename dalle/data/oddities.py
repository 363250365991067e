"""What can be unusual about a photograph's file, and the one rule for each: nothing is guessed in silence."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

RULES = {
    "turned by EXIF": "turned as EXIF's orientation says, which is not always how annotations saw it",
    "greyscale": "the one level stands for red, green and blue",
    "palette": "every pixel has its colour of the palette",
    "CMYK": "to RGB by Pillow's formula; taken as stored inverted, as Adobe does",
    "16 bits": "grey is divided by 257 and rounded; of colour the high byte stays",
    "transparent": "laid over white",
    "small": "its shorter side is less than the archive's: enlarged",
    "other size": "the size of the file counts, not the one that the source says",
    "box outside": "the part of the box that is inside counts; a picture without such a part is taken whole",
    "unreadable": "left out: truncated, moving, or no PNG, JPEG or WebP",
}
UPRIGHT, QUARTER_TURNS = 1, (5, 6, 7, 8)  # of EXIF's orientations


def oddities(data: bytes) -> set[str]:
    """Which of the first six rules a file calls for, by its head. Nothing of one that is no picture."""
    image = _opened(data)
    return set(_found(image, data)) if image else set()


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height as the picture is looked at; (0, 0) for what is no picture."""
    image = _opened(data)
    if image is None:
        return 0, 0
    return image.size[::-1] if _orientation(image) in QUARTER_TURNS else image.size


def _opened(data: bytes) -> "Image | None":
    from PIL import Image

    try:
        return Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _found(image: "Image", data: bytes) -> Iterator[str]:
    if _orientation(image) != UPRIGHT:
        yield "turned by EXIF"
    if image.mode in ("1", "L", "LA", "I;16"):
        yield "greyscale"
    if image.mode in ("P", "PA"):
        yield "palette"
    if image.mode == "CMYK":
        yield "CMYK"
    if image.format == "PNG" and data[24] == 16:
        yield "16 bits"
    if image.has_transparency_data:
        yield "transparent"


def _orientation(image: "Image") -> int:
    try:
        found = image.getexif().get(0x0112, UPRIGHT)
    except (OSError, SyntaxError, ValueError, struct.error):
        return UPRIGHT
    return found if found in range(2, 9) else UPRIGHT

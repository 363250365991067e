"""Sheets of pictures for people: strips below each other, of text or of pictures.

Small pictures are enlarged without smoothing: a pixel of theirs is a square of the sheet.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dalle.images import Picture
from dalle.provenance import atomic

SIDE = 192  # pixels: small pictures are enlarged to at most this, larger ones shown as they are
GAP, MARGIN, LINE = 8, 20, 24  # pixels between pictures, around the sheet, and from one line of text to the next
INK, PALE = "#111111", "#606060"


def write_strips(strips: Sequence[Image.Image], out: str | Path) -> None:
    """A PNG as wide as the first strip."""
    heights = [strip.height for strip in strips]
    sheet = Image.new("RGB", (strips[0].width, sum(heights) + MARGIN), "white")
    for strip, top in zip(strips, np.cumsum([MARGIN // 2, *heights[:-1]]), strict=True):
        sheet.paste(strip, (0, int(top)))
    with atomic(out) as temporary:
        sheet.save(temporary, format="PNG")


def text_strip(text: str, width: int, size: int = 17, ink: str = INK) -> Image.Image:
    """Text in as many lines as it needs, letters ``size`` pixels high."""
    letters = font(size)
    lines = wrapped(text, letters, width - 2 * MARGIN)
    strip = Image.new("RGB", (width, len(lines) * LINE), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(strip).text((MARGIN, number * LINE), line, fill=ink, font=letters)
    return strip


def enlarged(picture: Picture) -> Image.Image:
    """The picture a whole number of times larger, at most ``SIDE`` pixels; one that is larger as it is."""
    zoom = max(1, SIDE // max(picture.shape[:2]))
    return Image.fromarray(picture.repeat(zoom, axis=0).repeat(zoom, axis=1))


def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine, beyond Latin too."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def wrapped(text: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken between words; of a longer word the end is left out."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and letters.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitted(line, letters, width) for line in lines]


def fitted(text: str, letters: ImageFont.FreeTypeFont, width: int) -> str:
    """The text if it is at most ``width`` pixels long, else its beginning and an ellipsis. It is one line."""
    text = " ".join(text.split())  # raqm fails at separators of paragraphs
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"

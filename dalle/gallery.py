"""Pictures on a sheet for people: rows of them under a heading, each with a line of its own below.

Small pictures are enlarged without smoothing: a pixel of theirs is a square of the sheet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from dalle.images import Picture
from dalle.provenance import atomic

SIDE = 192  # pixels: small pictures are enlarged to at most this, larger ones shown as they are
GAP, MARGIN, LINE = 8, 20, 24  # pixels between pictures, around the sheet, and from one line of text to the next
COLUMNS = 8  # pictures side by side; more go into the next row
LEAST_WIDTH, LEAST_CELL = 640, 144  # pixels, so that a line of text finds room above and below small pictures
INK, PALE = "#111111", "#606060"


@dataclass(frozen=True)
class Tile:
    """A picture and what stands below it."""

    picture: Picture
    label: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and the pictures below it: every row begins a new line of the sheet."""

    heading: str
    rows: Sequence[Sequence[Tile]]


def write_gallery(sections: Sequence[Section], out: str | Path) -> None:
    """A PNG with the sections below each other. Pictures of a row have one height."""
    width = max([LEAST_WIDTH, *(_row_width(row) for section in sections for row in _rows(section))])
    strips = [strip for section in sections for strip in _strips(section, width)]
    sheet = Image.new("RGB", (width, sum(strip.height for strip in strips) + MARGIN), "white")
    top = MARGIN // 2
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    with atomic(out) as temporary:
        sheet.save(temporary, format="PNG")


def _strips(section: Section, width: int) -> Iterator[Image.Image]:
    if section.heading:
        yield _heading(section.heading, width)
    for row in _rows(section):
        yield _row(row, width)


def _rows(section: Section) -> list[Sequence[Tile]]:
    """The rows, of at most COLUMNS pictures."""
    return [row[start : start + COLUMNS] for row in section.rows for start in range(0, len(row), COLUMNS)]


def _heading(text: str, width: int) -> Image.Image:
    font = _font(17)
    lines = _wrapped(text, font, width - 2 * MARGIN)
    strip = Image.new("RGB", (width, len(lines) * LINE), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(strip).text((MARGIN, number * LINE), line, fill=INK, font=font)
    return strip


def _row(tiles: Sequence[Tile], width: int) -> Image.Image:
    font, labelled = _font(14), any(tile.label for tile in tiles)
    height = max(_size(tile)[1] for tile in tiles)
    strip = Image.new("RGB", (width, GAP + height + (LINE if labelled else 0) + GAP), "white")
    left = MARGIN
    for tile in tiles:
        cell, (shown, _) = _cell(tile), _size(tile)
        strip.paste(_enlarged(tile.picture), (left + (cell - shown) // 2, GAP))
        label = _fitted(tile.label, font, cell)
        ImageDraw.Draw(strip).text((left + cell / 2, GAP + height + 4), label, fill=PALE, font=font, anchor="ma")
        left += cell + GAP
    return strip


def _row_width(tiles: Sequence[Tile]) -> int:
    return 2 * MARGIN + sum(_cell(tile) + GAP for tile in tiles) - GAP


def _cell(tile: Tile) -> int:
    return max(LEAST_CELL, _size(tile)[0])


def _size(tile: Tile) -> tuple[int, int]:
    """Width and height on the sheet, pixels."""
    height, width, _ = tile.picture.shape
    zoom = max(1, SIDE // max(height, width))
    return width * zoom, height * zoom


def _enlarged(picture: Picture) -> Image.Image:
    return Image.fromarray(picture).resize(_size(Tile(picture)), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine, beyond Latin too."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken between words; of a longer word the end is left out."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_fitted(line, font, width) for line in lines]


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text if it is at most ``width`` pixels long, else its beginning and an ellipsis. It is one line."""
    text = " ".join(text.split())  # raqm fails at separators of paragraphs
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"

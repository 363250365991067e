"""Pictures on a sheet for people: rows of them under a heading, each with a line of its own below."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from dalle.images import Picture
from dalle.strips import GAP, LINE, MARGIN, PALE, enlarged, fitted, font, text_strip, write_strips

COLUMNS = 8  # pictures side by side; more go into the next row
LEAST_WIDTH, LEAST_CELL = 640, 144  # pixels, so that a line of text finds room above and below small pictures


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
    write_strips([strip for section in sections for strip in _strips(section, width)], out)


def _strips(section: Section, width: int) -> Iterator[Image.Image]:
    if section.heading:
        yield text_strip(section.heading, width)
    for row in _rows(section):
        yield _row(row, width)


def _rows(section: Section) -> list[Sequence[Tile]]:
    """The rows, of at most COLUMNS pictures."""
    return [row[start : start + COLUMNS] for row in section.rows for start in range(0, len(row), COLUMNS)]


def _row(tiles: Sequence[Tile], width: int) -> Image.Image:
    letters, labelled = font(14), any(tile.label for tile in tiles)
    pictures = [enlarged(tile.picture) for tile in tiles]
    height = max(picture.height for picture in pictures)
    strip = Image.new("RGB", (width, GAP + height + (LINE if labelled else 0) + GAP), "white")
    left = MARGIN
    for tile, picture in zip(tiles, pictures, strict=True):
        cell = _cell(picture)
        strip.paste(picture, (left + (cell - picture.width) // 2, GAP))
        label = fitted(tile.label, letters, cell)
        ImageDraw.Draw(strip).text((left + cell / 2, GAP + height + 4), label, fill=PALE, font=letters, anchor="ma")
        left += cell + GAP
    return strip


def _row_width(tiles: Sequence[Tile]) -> int:
    return 2 * MARGIN + sum(_cell(enlarged(tile.picture)) + GAP for tile in tiles) - GAP


def _cell(picture: Image.Image) -> int:
    return max(LEAST_CELL, picture.width)

"""What a page is made of: sections of prose, tables, figures and rows of pictures. Texts are plain, never markup."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Prose:
    """A paragraph; ``is_absence`` where it says why something is not there."""

    kind: ClassVar[str] = "prose"
    text: str
    is_absence: bool = False


@dataclass(frozen=True)
class Heading:
    """Of a column, with a smaller note below it."""

    text: str
    note: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell, with a smaller note below it; numbers are sorted by ``value``, texts by their letters."""

    text: str = ""
    note: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows that the reader can sort by any column."""

    kind: ClassVar[str] = "table"
    caption: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    is_wordy: bool = False  # cells may be long, and break anywhere


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, what it shows in words for those who do not see it, and its caption."""

    kind: ClassVar[str] = "drawing"
    svg: Markup
    alt: str
    caption: str


@dataclass(frozen=True)
class Tile:
    """A picture as a data URI. ``right`` is the grader's verdict; None where nobody judged."""

    uri: str
    alt: str
    label: str = ""
    right: bool | None = None
    is_small: bool = True  # a pixel of it is shown as a square
    is_half_kept: bool = False  # a line is drawn across its middle


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, and the words over them."""

    heading: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Grid:
    """Rows of pictures; ``is_dense`` puts short rows side by side."""

    kind: ClassVar[str] = "grid"
    caption: str
    rows: Sequence[Row]
    is_dense: bool = False


@dataclass(frozen=True)
class Sheet:
    """A picture that is a figure in itself, as a data URI."""

    kind: ClassVar[str] = "sheet"
    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Folded:
    """Parts that are shown when the reader asks for them."""

    kind: ClassVar[str] = "folded"
    title: str
    parts: Sequence["Part"]


Part = Prose | Table | Drawing | Sheet | Grid | Folded


@dataclass(frozen=True)
class Section:
    """A heading, the name it is linked by, and what stands below it."""

    name: str
    title: str
    parts: Sequence[Part] = field(default_factory=tuple)


def two_columns(caption: str, headings: tuple[str, str], facts: dict[str, str]) -> Table:
    """Names and what they are."""
    named = [Heading(text, is_number=False) for text in headings]
    return Table(caption, named, [[Cell(name), Cell(fact)] for name, fact in facts.items()], True)

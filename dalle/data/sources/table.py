"""The one table that every door leads to: who says what of which picture, and where its pixels are.

No picture is decoded here, and none is held in memory: a source knows how to read the file of any one of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from dalle.data.crops import Box
from dalle.data.oddities import upright_size
from dalle.listing import OTHERS, pictures_below, some

BLANK = "empty captions of pictures that have others, left out"
COLUMNS = {
    "prompt_id": "int64",
    "image_id": "str",
    "caption": "str",
    "split": "str",
    "category": "str",
    "width": "int64",
    "height": "int64",
    "file": "str",
    "picture": "int64",
}


@dataclass(frozen=True)
class Source:
    """Captioned pictures as their door found them.

    ``rows`` has one row a caption, in the source's own order: prompt_id (the caption's number, unique), image_id,
    caption ('' in the only row of a picture that nobody described), split, category ('' where there is none), width and
    height in pixels (0 where the source does not say), file (a name for people) and picture (what ``read`` takes).
    ``boxes`` is the part of a picture that its captions are about, by ``picture``. ``notes`` counts what the door did.
    """

    name: str
    rows: pd.DataFrame
    read: Callable[[int], bytes]
    boxes: Mapping[int, Box] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def pictures(self) -> pd.DataFrame:
        """The first row of each picture; its index is that of ``rows``."""
        return self.rows.drop_duplicates("picture")

    def of_split(self, *splits: str) -> pd.DataFrame:
        """The rows of some splits. Raises ValueError for a split that the source does not have."""
        known = sorted(set(self.rows["split"]))
        if unknown := sorted(set(splits) - set(known)):
            raise ValueError(f"{self.name}: there is no split {unknown[0]!r}; its splits are {known}")
        return self.rows[self.rows["split"].isin(splits)]


def make_source(name: str, rows: Iterable[Mapping[str, Any]], read: Callable[[int], bytes], **more: Any) -> Source:
    """A source of ``rows`` whose captions have one space between words and none at their ends.

    Empty captions are left out, and counted in the notes; a picture that has no other stays, in one row. Raises
    ValueError if there is no row, a caption is no text, a prompt_id is no whole number or occurs twice, or a picture
    stands in two splits.
    """
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    if table.empty:
        raise ValueError(f"{name}: there is no picture in it")
    refuse(name, {"captions that are no text": [repr(each) for each in table["caption"] if not isinstance(each, str)]})
    table["caption"] = [" ".join(caption.split()) for caption in table["caption"]]
    try:
        table = table.fillna({"category": "", "width": 0, "height": 0}).astype(COLUMNS)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}: numbers of captions, widths and heights are whole numbers ({error})") from None
    splits = table.drop_duplicates(["image_id", "split"])
    refuse(
        name,
        {
            "prompt_id more than once": table["prompt_id"][table["prompt_id"].duplicated()].astype(str),
            "pictures in two splits": splits["image_id"][splits["image_id"].duplicated()],
        },
    )
    is_blank = _is_blank(table)
    notes = {**more.pop("notes", {}), BLANK: int(is_blank.sum())}
    return Source(name, table[~is_blank].reset_index(drop=True), read, notes=notes, **more)


def _is_blank(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows say nothing: those without a caption of a picture that has one, or has such a row already."""
    is_silent = table["caption"] == ""
    has_others = table["picture"].isin(table["picture"][~is_silent])
    return is_silent & (has_others | table[is_silent].duplicated("picture").reindex(table.index, fill_value=False))


def refuse(name: str, complaints: Mapping[str, Iterable[str]]) -> None:
    """Raises a ValueError that tells, of every complaint that has examples, their number and the first five."""
    found = {what: list(examples) for what, examples in complaints.items()}
    said = [f"{what}: {some(examples)}" for what, examples in found.items() if examples]
    if said:
        raise ValueError(f"{name}: {'; '.join(said)}")


def differences(named: Iterable[str], there: Iterable[str], whose: str) -> dict[str, list[str]]:
    """The complaints, if any, that a list names pictures that are not there, or does not name some that are."""
    named, there = set(named), set(there)
    return {
        "missing pictures": sorted(named - there),
        f"pictures that are not in {whose}": sorted(there - named),
    }


def listed(folder: Path, notes: Counter[str]) -> list[str]:
    """The pictures below a folder. How many other files there are is added to ``notes``.

    Raises ValueError as :func:`dalle.listing.pictures_below`.
    """
    pictures, others = pictures_below(folder)
    notes[OTHERS] += len(others)
    return pictures


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8 that are not empty. Raises ValueError for a file that is not there."""
    try:  # not splitlines(): some captions have other separators in them
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: the file cannot be read ({error})") from None


def file_reader(folder: Path, files: list[str]) -> Callable[[int], bytes]:
    """Reads the picture with a number: that file of the folder."""
    return lambda picture: (folder / files[picture]).read_bytes()


def measured(source: Source, workers: int) -> Source:
    """The source with the sizes that it did not say, from the heads of the files; 0 stays where there is none.

    A picture that EXIF turns by a quarter has the size in which it is looked at.
    """
    unknown = source.pictures.query("width == 0")["picture"].tolist()
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda picture: _size(source, picture), unknown)
        sizes = dict(zip(unknown, tqdm(found, "sizes", len(unknown), disable=None), strict=True))
    said = source.rows[["picture", "width", "height"]].itertuples(index=False)
    width, height = zip(*(sizes.get(picture, size) for picture, *size in said), strict=True)
    return replace(source, rows=source.rows.assign(width=width, height=height))


def _size(source: Source, picture: int) -> tuple[int, int]:
    try:
        return upright_size(source.read(picture))
    except OSError:
        return 0, 0

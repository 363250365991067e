"""What a folder holds, as far as can be told without opening its files. Imports nothing heavy: Snakemake asks early."""

import hashlib
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # of pictures that are read
# Of pictures that are not. Left out in silence, they would make another set of the folder.
FOREIGN = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".ppm", ".svg", ".tga", ".tif", ".tiff")
SHOWN = 5  # of what is wrong, the first few and the number
OTHERS = "files that are no pictures, left alone"


def some(examples: Sequence[str], num: int | None = None) -> str:
    """'7 (a, b, c, d, e, …)', of examples of which there are ``num``."""
    num = len(examples) if num is None else num
    more = ["…"] if num > SHOWN else []
    return f"{num} ({', '.join([*examples[:SHOWN], *more])})"


def files_below(folder: str | Path) -> list[str]:
    """The names, relative to ``folder``, of the files in it and its subfolders, sorted; linked folders count too.

    Raises ValueError without a folder.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    return sorted(_walk(folder))


def _walk(folder: str | Path) -> Iterator[str]:
    for place, _, names in os.walk(folder, followlinks=True):
        files = (Path(place, name) for name in names)
        yield from (file.relative_to(folder).as_posix() for file in files if file.is_file())  # not a link to nowhere


def pictures_below(folder: str | Path, expected: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The pictures below a folder, and the files that are neither pictures nor ``expected``, which the log names.

    Raises ValueError without a folder, and for pictures in a format that is not read.
    """
    files = files_below(folder)
    pictures = [file for file in files if file.lower().endswith(SUFFIXES)]
    if foreign := [file for file in files if file.lower().endswith(FOREIGN)]:
        raise ValueError(
            f"{folder}: pictures in a format that is not read: {some(foreign)}; allowed are {', '.join(SUFFIXES)}"
        )
    if others := sorted(set(files) - set(pictures) - set(expected)):
        logging.warning("%s: %s: %s", folder, OTHERS, some(others))
    return pictures, others


def listing_digest(folder: str | Path) -> str:
    """A digest of the names, sizes and times of all files in a folder and its subfolders; of none without a folder.

    As inputs of a rule, tens of thousands of pictures would flood its log; the folder alone has a time that does not
    change with theirs.
    """
    files = [(name, Path(folder, name).stat()) for name in sorted(_walk(folder))]
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

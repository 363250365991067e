"""Which picture stands for a system at each caption, and how it is shown: in one square for all systems."""

from collections.abc import Iterator
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from dalle.images import Picture, iter_archive, read_rows

BATCH = 64  # pictures that are decoded at once
GREY = 128  # of what is left of the square beside a picture that is none


class Contestant(NamedTuple):
    """A system in a comparison: its archive, its selection, and the N of best-of-N; None is the largest N."""

    system: str
    archive: str | Path
    selection: str | Path
    n_candidates: int | None


class Shown(NamedTuple):
    """What stands for a contestant at one caption: a picture, or several that are shown as a grid."""

    system: str
    n_candidates: int
    prompt_id: int
    candidate: int  # the first of them
    caption: str
    pictures: tuple[Picture, ...]

    def equals(self, other: "Shown") -> bool:
        """Whether both show the same, pixel by pixel."""
        return all(map(np.array_equal, self.pictures, other.pictures))


def label(system: str, n_candidates: int) -> str:
    """A contestant in plain words."""
    return f"{system}, best of {n_candidates}" if n_candidates > 1 else system


def pictures_of(contestant: Contestant, pictures: int) -> dict[int, Shown]:
    """What stands for the contestant at each prompt: its best of N, or the first ``pictures`` of its candidates.

    Raises ValueError if its selection does not know N, and if a prompt has too few pictures.
    """
    system, archive, selection, _ = contestant
    chosen, number = _chosen(contestant) if pictures == 1 else (_first(archive, pictures), 1)
    wanted = pd.MultiIndex.from_frame(chosen[["prompt_id", "candidate"]])
    found: dict[int, list[tuple[int, str, Picture]]] = {}
    for row, picture in _rows(archive):
        if (row.prompt_id, row.candidate) in wanted:
            found.setdefault(row.prompt_id, []).append((row.candidate, row.caption, picture))
    missing = len(wanted) - sum(map(len, found.values()))
    if missing:
        raise ValueError(f"{archive}: {missing} of the pictures that {selection} chose are not in it")
    shown = {}
    for prompt, several in found.items():
        candidates, captions, pixels = zip(*sorted(several, key=lambda one: one[0]), strict=True)
        shown[prompt] = Shown(system, number, prompt, candidates[0], captions[0], pixels)
    return shown


def _chosen(contestant: Contestant) -> tuple[pd.DataFrame, int]:
    chosen = pd.read_parquet(contestant.selection)
    allowed = sorted(set(chosen["n_candidates"]))
    number = contestant.n_candidates or allowed[-1]
    if number not in allowed:
        raise ValueError(f"{contestant.selection}: n_candidates = {number} is not in it; allowed: {allowed}")
    return chosen[chosen["n_candidates"] == number], int(number)


def _first(archive: str | Path, pictures: int) -> pd.DataFrame:
    rows = read_rows(archive).sort_values(["prompt_id", "candidate"])
    fewest = rows.groupby("prompt_id").size().min()
    if fewest < pictures:
        raise ValueError(f"{archive}: a caption has {fewest} pictures; the questionnaire shows {pictures}")
    return rows.groupby("prompt_id").head(pictures)


def _rows(archive: str | Path) -> Iterator[tuple]:
    for rows, pictures in iter_archive(archive, BATCH):
        yield from zip(rows.itertuples(), pictures, strict=True)


def rendered(shown: Shown, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """What people see: one picture, or a square grid of several, in a square of ``side`` pixels on grey."""
    cells = isqrt(len(shown.pictures))
    square = np.full((side, side, 3), GREY, np.uint8)
    for number, picture in enumerate(shown.pictures):
        top, left = (side // cells * place for place in divmod(number, cells))
        framed = _framed(picture, side // cells)
        square[top : top + side // cells, left : left + side // cells] = framed
    return square


def _framed(picture: Picture, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """The whole picture, as large as fits: pixels repeated if they fit a whole number of times, else Lanczos."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    if side % longest == 0:
        scaled = picture.repeat(side // longest, axis=0).repeat(side // longest, axis=1)
    else:
        size = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
        scaled = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    square = np.full((side, side, 3), GREY, np.uint8)
    top, left = ((side - length) // 2 for length in scaled.shape[:2])
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square

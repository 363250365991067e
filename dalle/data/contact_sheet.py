"""The closest pairs of reference and training pictures, for a person to say which of them are copies."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dalle.images import Picture, iter_archive
from dalle.provenance import atomic

if TYPE_CHECKING:
    from PIL import Image

BATCH = 256  # pictures read at a time
ACROSS = 4  # pairs side by side
SIDE = 128  # pixels: pictures are enlarged or reduced to this
GAP, LINE = 8, 34  # pixels between pairs, and of the text below each
INK, OVERLAP = "#111111", "#C44500"
Key = tuple[str, int]  # archive and prompt_id


def write_contact_sheet(
    pairs: pd.DataFrame, suites: Mapping[str, str | Path], training: Sequence[str | Path], num: int, out: str | Path
) -> None:
    """The ``num`` pairs most alike and, where there is an embedding, the ``num`` closest by cosine below them.

    Left the reference picture, right the training picture; what counts as an overlap is written in orange.
    """
    from PIL import Image

    shown = list(_shown(pairs, num))
    wanted = [key for ours, theirs, _, _ in shown for key in (ours, theirs)]
    paths = {**suites, **{Path(path).stem: path for path in training}}
    of_archive = {name: {number for stem, number in wanted if stem == name} for name in paths}
    pictures = {name: _pictures(paths[name], numbers) for name, numbers in of_archive.items()}
    width, height = 2 * SIDE + GAP, SIDE + LINE
    sheet = Image.new("RGB", (ACROSS * width + GAP, -(-len(shown) // ACROSS) * height + GAP), "white")
    for place, (ours, theirs, words, is_overlap) in enumerate(shown):
        corner = (GAP + place % ACROSS * width, GAP + place // ACROSS * height)
        two = [pictures[name][number] for name, number in (ours, theirs)]
        sheet.paste(_pair(two, words, OVERLAP if is_overlap else INK), corner)
    with atomic(out) as temporary:
        sheet.save(temporary, format="PNG")


def _shown(pairs: pd.DataFrame, num: int) -> Iterator[tuple[Key, Key, str, bool]]:
    copies = pairs.nlargest(num, "likeness")
    neighbours = pairs.dropna(subset="cosine").nlargest(num, "cosine")
    for measure, closest in (("likeness", copies), ("cosine", neighbours)):
        for row in closest.to_dict("records"):
            theirs = (row[f"{measure}_archive"], row[f"{measure}_id"])
            bits = f", {row['distance']:.0f} bits" if measure == "likeness" else ""
            words = f"{measure} {row[measure]:.3f}{bits}\n{row['suite']} {row['prompt_id']} / {theirs[0]} {theirs[1]}"
            yield (row["suite"], row["prompt_id"]), theirs, words, bool(row["overlap"])


def _pictures(path: str | Path, prompt_ids: set[int]) -> dict[int, Picture]:
    """The pictures of candidate 0 of some prompts."""
    found: dict[int, Picture] = {}
    for rows, pictures in iter_archive(path, BATCH):
        wanted = np.flatnonzero((rows["candidate"] == 0) & rows["prompt_id"].isin(prompt_ids))
        found |= {int(rows["prompt_id"].iloc[place]): pictures[place] for place in wanted}
    return found


def _pair(pictures: Sequence[Picture], words: str, ink: str) -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (2 * SIDE, SIDE + LINE), "white")
    for number, picture in enumerate(pictures):
        strip.paste(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (number * SIDE, 0))
    ImageDraw.Draw(strip).text((0, SIDE + 2), words, fill=ink, font=ImageFont.load_default(12))
    return strip

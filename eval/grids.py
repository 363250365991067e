"""Two grids of pictures: samples under their captions, and originals over their reconstructions.

Which captions are shown is nobody's choice: the first of the suite.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

from dalle.images import Picture, read_archive
from dalle.strips import GAP, LINE, MARGIN, PALE, enlarged, font, text_strip, write_strips

RIGHT, WRONG = "#007A5A", "#C44500"


def _by_id(path: str | Path) -> tuple[pd.DataFrame, dict[tuple[int, int], Picture]]:
    rows, images = read_archive(path)
    keys = rows[["prompt_id", "candidate"]].itertuples(index=False, name=None)
    return rows, dict(zip(keys, images, strict=True))


def _verdicts(image_scores: str | Path, suite: str) -> dict[tuple[str, int, int], bool]:
    scores = pd.read_parquet(image_scores)
    scores = scores[(scores["suite"] == suite) & (scores["metric"] == "grounded")]
    return (scores.set_index(["system", "prompt_id", "candidate"])["value"] == 1).to_dict()


def _every_second(numbers: Sequence[int]) -> list[int]:
    """Every second doubling, and the last N in any case."""
    return sorted({*numbers[::2], numbers[-1]})


def _headings(names: Sequence[str], width: int) -> Image.Image:
    """One heading over the middle of each of the columns."""
    strip = Image.new("RGB", (width, LINE + 2 * GAP), "white")
    column = (width - 2 * MARGIN + GAP) / len(names)
    for number, name in enumerate(names):
        middle = MARGIN + (number + 0.5) * column - GAP / 2
        ImageDraw.Draw(strip).text((middle, GAP), name, fill=PALE, font=font(18), anchor="ma")
    return strip


def _draw_mark(pen: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    """A white tick on green or a white cross on orange, 22 pixels across: form and colour both tell."""
    pen.ellipse((x, y, x + 22, y + 22), fill=RIGHT if right else WRONG, outline="white", width=2)
    strokes = [[(6, 12), (10, 16), (17, 7)]] if right else [[(7, 7), (15, 15)], [(15, 7), (7, 15)]]
    for stroke in strokes:
        pen.line([(x + dx, y + dy) for dx, dy in stroke], fill="white", width=3)


def _row(pictures: Sequence[Picture], marks: Sequence[bool | None]) -> Image.Image:
    """Pictures side by side, each with its tick or cross in the corner, or none where nobody judged."""
    width, height = enlarged(pictures[0]).size
    strip = Image.new("RGB", (2 * MARGIN + len(pictures) * (width + GAP) - GAP, height + LINE), "white")
    pen = ImageDraw.Draw(strip)
    for number, (picture, mark) in enumerate(zip(pictures, marks, strict=True)):
        left = MARGIN + number * (width + GAP)
        strip.paste(enlarged(picture), (left, GAP))
        if mark is not None:
            _draw_mark(pen, left + width - 26, GAP + 4, mark)
    return strip


def sample_grid(
    real: str | Path,
    pictures: str | Path,
    selection: str | Path,
    image_scores: str | Path,
    out: str | Path,
    *,
    system: str,
    suite: str,
    num_captions: int = 8,
) -> None:
    """A PNG with one row a caption, the caption over it: real | N = 1 | best of 4 | … | best of the largest N.

    ``real`` and ``pictures`` are the image archives of the systems real and ``system``; ``selection`` says which of
    ``pictures`` stands for which N; ``image_scores`` holds the verdicts (metric ``grounded``) on both in this
    ``suite``: a tick where everything the caption says is in the picture, a cross where not (compare the paper's
    figure 6).
    """
    rows, shown = _by_id(real)
    _, drawn = _by_id(pictures)
    chosen = pd.read_parquet(selection).set_index(["prompt_id", "n_candidates"])["candidate"]
    verdicts = _verdicts(image_scores, suite)
    columns = _every_second(sorted(chosen.index.unique("n_candidates")))
    strips = []
    for prompt, caption in rows.head(num_captions)[["prompt_id", "caption"]].itertuples(index=False):
        keys = [(prompt, chosen[prompt, n]) for n in columns]
        marks = [verdicts.get(("real", prompt, 0)), *(verdicts.get((system, *key)) for key in keys)]
        row = _row([shown[prompt, 0], *(drawn[key] for key in keys)], marks)
        strips += [text_strip(caption, row.width), row]
    names = ["real", *("N = 1" if n == 1 else f"best of {n}" for n in columns)]
    marks = " ✓ everything the caption says is in the picture; ✗ it is not." if verdicts else ""
    note = f"The first captions of suite {suite}.{marks}"
    width = strips[-1].width
    write_strips([_headings(names, width), *strips, text_strip(note, width, size=14, ink=PALE)], out)


def reconstruction_grid(
    reference: str | Path, start: str | Path, trained: str | Path, out: str | Path, *, num_pictures: int = 8
) -> None:
    """A PNG: the first pictures of ``reference`` over what the untrained and the trained dVAE make of them."""
    archives = {"original": reference, "through the untrained dVAE": start, "through the trained dVAE": trained}
    first = read_archive(reference)[0].head(num_pictures)
    keys = list(first[["prompt_id", "candidate"]].itertuples(index=False, name=None))
    strips = []
    for name, path in archives.items():
        pictures = _by_id(path)[1]
        row = _row([pictures[key] for key in keys], [None] * len(keys))
        strips += [text_strip(name, row.width), row]
    write_strips(strips, out)

"""Two grids of pictures: samples under their captions, and originals over their reconstructions.

Pictures are enlarged without smoothing: a pixel of the archive is a square of the grid. Which captions are shown is
nobody's choice: the first of the suite. A grid is a stack of strips, each of them text or a row of pictures.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from dalle.images import read_archive
from dalle.provenance import atomic

Picture = UInt8[np.ndarray, "h w 3"]
SIDE = 192  # pixels: small pictures are enlarged to at most this, larger ones shown as they are
GAP, MARGIN, LINE = 8, 20, 24  # pixels between pictures, around the grid, and from one line of text to the next
INK, PALE, RIGHT, WRONG = "#111111", "#606060", "#007A5A", "#C44500"


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


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine, beyond Latin too."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken between words; a longer word has a line of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _text(text: str, width: int, size: int = 17, ink: str = INK) -> Image.Image:
    """Text in as many lines as it needs, letters ``size`` pixels high."""
    font = _font(size)
    lines = _wrapped(text, font, width - 2 * MARGIN)
    strip = Image.new("RGB", (width, len(lines) * LINE), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(strip).text((MARGIN, number * LINE), line, fill=ink, font=font)
    return strip


def _headings(names: Sequence[str], width: int) -> Image.Image:
    """One heading over the middle of each of the columns."""
    strip = Image.new("RGB", (width, LINE + 2 * GAP), "white")
    column = (width - 2 * MARGIN + GAP) / len(names)
    for number, name in enumerate(names):
        middle = MARGIN + (number + 0.5) * column - GAP / 2
        ImageDraw.Draw(strip).text((middle, GAP), name, fill=PALE, font=_font(18), anchor="ma")
    return strip


def _zoom(picture: Picture) -> int:
    return max(1, SIDE // max(picture.shape))


def _enlarged(picture: Picture) -> Picture:
    return picture.repeat(_zoom(picture), axis=0).repeat(_zoom(picture), axis=1)


def _draw_mark(pen: ImageDraw.ImageDraw, x: int, y: int, right: bool) -> None:
    """A white tick on green or a white cross on orange, 22 pixels across: form and colour both tell."""
    pen.ellipse((x, y, x + 22, y + 22), fill=RIGHT if right else WRONG, outline="white", width=2)
    strokes = [[(6, 12), (10, 16), (17, 7)]] if right else [[(7, 7), (15, 15)], [(15, 7), (7, 15)]]
    for stroke in strokes:
        pen.line([(x + dx, y + dy) for dx, dy in stroke], fill="white", width=3)


def _row(pictures: Sequence[Picture], marks: Sequence[bool | None]) -> Image.Image:
    """Pictures side by side, each with its tick or cross in the corner, or none where nobody judged."""
    height, width = (length * _zoom(pictures[0]) for length in pictures[0].shape[:2])
    strip = Image.new("RGB", (2 * MARGIN + len(pictures) * (width + GAP) - GAP, height + LINE), "white")
    pen = ImageDraw.Draw(strip)
    for number, (picture, mark) in enumerate(zip(pictures, marks, strict=True)):
        left = MARGIN + number * (width + GAP)
        strip.paste(Image.fromarray(_enlarged(picture)), (left, GAP))
        if mark is not None:
            _draw_mark(pen, left + width - 26, GAP + 4, mark)
    return strip


def _save(strips: Sequence[Image.Image], out: str | Path) -> None:
    heights = [strip.height for strip in strips]
    sheet = Image.new("RGB", (strips[0].width, sum(heights) + MARGIN), "white")
    for strip, top in zip(strips, np.cumsum([MARGIN // 2, *heights[:-1]]), strict=True):
        sheet.paste(strip, (0, int(top)))
    with atomic(out) as temporary:
        sheet.save(temporary, format="PNG")


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
        strips += [_text(caption, row.width), row]
    names = ["real", *("N = 1" if n == 1 else f"best of {n}" for n in columns)]
    marks = " ✓ everything the caption says is in the picture; ✗ it is not." if verdicts else ""
    note = f"The first captions of suite {suite}.{marks}"
    width = strips[-1].width
    _save([_headings(names, width), *strips, _text(note, width, size=14, ink=PALE)], out)


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
        strips += [_text(name, row.width), row]
    _save(strips, out)

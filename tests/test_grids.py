"""The grids show the archive's pixels, unsmoothed, at the right place and under the right verdict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from dalle.images import write_archive
from dalle.strips import GAP, MARGIN
from eval import grids

CAPTIONS = ["a small red circle on sand", "three large blue rings at night " * 8]


def archive(path: Path, candidates: tuple[int, ...]) -> np.ndarray:
    """An archive of noise whose pictures all differ; returns the pictures by prompt and candidate."""
    pictures = np.random.default_rng(len(candidates)).integers(0, 256, (2, len(candidates), 64, 64, 3), np.uint8)
    keys = [(prompt, candidate) for prompt in range(2) for candidate in candidates]
    rows = pd.DataFrame(keys, columns=["prompt_id", "candidate"])
    rows = rows.assign(caption=[CAPTIONS[prompt] for prompt, _ in keys], scene="")
    write_archive(path, rows, pictures.reshape(-1, 64, 64, 3))
    return pictures


def places(sheet: Image.Image, picture: np.ndarray) -> list[tuple[int, int]]:
    """Where (left, top) the picture, enlarged three times, lies in the sheet; its corner mark is not compared."""
    pixels = np.asarray(sheet)
    large = picture.repeat(3, axis=0).repeat(3, axis=1)
    lefts = range(MARGIN, sheet.width - 192, 192 + GAP)
    tops = range(sheet.height - 192)
    found = [(x, y) for x in lefts for y in tops if (pixels[y + 100, x : x + 192] == large[100]).all()]
    return [(x, y) for x, y in found if (pixels[y + 30 : y + 192, x : x + 192] == large[30:]).all()]


@pytest.fixture
def sheet(tmp_path: Path) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    real, drawn = archive(tmp_path / "real.parquet", (0,)), archive(tmp_path / "ours.parquet", (0, 3))
    chosen = [(prompt, n, 3 if n == 4 else 0) for prompt in range(2) for n in (1, 2, 4)]
    columns = ["prompt_id", "n_candidates", "candidate"]
    pd.DataFrame(chosen, columns=columns).to_parquet(tmp_path / "selection.parquet")
    verdicts = [("dalle1", 0, 0, 0.0), ("dalle1", 0, 3, 1.0), ("real", 0, 0, 1.0)]
    scores = pd.DataFrame(verdicts, columns=["system", "prompt_id", "candidate", "value"])
    scores.assign(suite="val", metric="grounded").to_parquet(tmp_path / "image_scores.parquet")
    inputs = [tmp_path / f"{name}.parquet" for name in ("real", "ours", "selection", "image_scores")]
    grids.sample_grid(*inputs, tmp_path / "grid.png", system="dalle1", suite="val")
    return Image.open(tmp_path / "grid.png"), real, drawn


def test_columns_are_real_then_the_picture_chosen_for_each_n(sheet):
    image, real, drawn = sheet
    lefts = [[place[0] for place in places(image, p)] for p in (real[0, 0], drawn[0, 0], drawn[0, 1])]
    assert lefts == [[20], [220], [420]]  # N = 1 and best of 4; every second doubling is left out


def test_marks_follow_the_verdicts_and_are_missing_where_nobody_judged(sheet):
    image, real, drawn = sheet
    right, wrong = (ImageColor.getrgb(colour) for colour in (grids.RIGHT, grids.WRONG))

    def mark(picture: np.ndarray) -> tuple[int, ...]:
        ((left, top),) = places(image, picture)
        return image.getpixel((left + 192 - 26 + 11, top + 4 + 4))

    assert mark(real[0, 0]) == mark(drawn[0, 1]) == right
    assert mark(drawn[0, 0]) == wrong
    assert mark(drawn[1, 1]) not in (right, wrong)


def test_reconstructions_lie_below_their_originals(tmp_path: Path):
    names = ("reference", "dvae_start", "dvae")
    pictures = [archive(tmp_path / f"{name}.parquet", (0,)) for name in names]
    pictures = [p if number == 0 else 255 - p for number, p in enumerate(pictures)]
    rows = pd.read_parquet(tmp_path / "reference.parquet")
    for name, images in zip(names[1:], pictures[1:], strict=True):
        write_archive(tmp_path / f"{name}.parquet", rows, images[:, 0] // (2 if name == "dvae" else 1))
    grids.reconstruction_grid(*(tmp_path / f"{name}.parquet" for name in names), tmp_path / "grid.png")
    image = Image.open(tmp_path / "grid.png")
    found = [places(image, p)[0] for p in (pictures[0][1, 0], pictures[1][1, 0], pictures[2][1, 0] // 2)]
    assert [left for left, _ in found] == [220, 220, 220]
    assert found == sorted(found)

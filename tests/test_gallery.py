"""A sheet shows every pixel of every picture, and all words have room."""

import numpy as np
import pytest
from PIL import Image

from dalle.gallery import COLUMNS, LEAST_CELL, LEAST_WIDTH, Section, Tile, write_gallery
from dalle.strips import GAP, MARGIN, SIDE, font, wrapped


def picture(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def sheet(path, *sections):
    write_gallery(sections, path)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.array(image)


def find(sheet, picture):
    """Where an enlarged picture stands, top and left."""
    zoom = max(1, SIDE // len(picture))
    large = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    rows, columns = np.nonzero((sheet == large[0, 0]).all(-1))
    for top, left in zip(rows, columns, strict=True):
        if np.array_equal(sheet[top : top + len(large), left : left + len(large)], large):
            return int(top), int(left)
    raise AssertionError("the picture is not on the sheet")


@pytest.mark.parametrize("side", [4, 50, SIDE, 250])
def test_pictures_stand_side_by_side_enlarged_without_smoothing(tmp_path, side):
    first, second = picture(side, 1), picture(side, 2)
    found = sheet(tmp_path / "a.png", Section("two pictures", [[Tile(first, "one"), Tile(second)]]))
    (top, left), (other_top, other_left) = find(found, first), find(found, second)
    cell = max(LEAST_CELL, side * max(1, SIDE // side))
    assert (other_top, other_left) == (top, left + cell + GAP)
    assert found.shape[1] == max(LEAST_WIDTH, 2 * MARGIN + 2 * cell + GAP)


def test_a_new_row_begins_where_it_is_told_and_where_one_is_full(tmp_path):
    tiles = [Tile(picture(8, seed)) for seed in range(COLUMNS + 3)]
    found = sheet(tmp_path / "a.png", Section("", [tiles[:2], tiles[2:]]))
    tops = [find(found, tile.picture)[0] for tile in tiles]
    assert np.unique(tops, return_counts=True)[1].tolist() == [2, COLUMNS, 1]
    assert tops == sorted(tops)
    lefts = {find(found, tiles[number].picture)[1] for number in (0, 2, 2 + COLUMNS)}
    assert lefts == {MARGIN}


def test_headings_and_labels_are_written(tmp_path):
    bare = sheet(tmp_path / "a.png", Section("", [[Tile(picture(8))]]))
    headed = sheet(tmp_path / "b.png", Section("a red ring", [[Tile(picture(8))]]))
    labelled = sheet(tmp_path / "c.png", Section("", [[Tile(picture(8), "12.5")]]))
    top = find(headed, picture(8))[0]
    assert top > find(bare, picture(8))[0]
    assert (headed[:top] < 255).any()
    below = find(labelled, picture(8))[0] + SIDE
    assert (labelled[below:] < 255).any()
    assert not (bare[below:] < 255).any()


def test_long_words_are_cut_and_long_texts_wrapped():
    letters = font(17)
    lines = wrapped(f"a short one {'x' * 300} and {'word ' * 50}", letters, 300)
    assert all(letters.getlength(line) <= 300 for line in lines)
    assert lines[0] == "a short one"
    assert lines[1].endswith("x…")
    assert sum(line.count("word") for line in lines) == 50


def test_texts_wrap_between_words_and_lose_none():
    letters, words = font(17), "three large blue rings at night " * 8
    lines = wrapped(words, letters, 500)
    assert " ".join(lines) == words.strip()
    assert len(lines) > 1
    assert max(letters.getlength(line) for line in lines) <= 500

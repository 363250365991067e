"""Pixels go into a network and into files and come back as they were; what is not a picture is named."""

import numpy as np
import pandas as pd
import pytest
import torch

from dalle.images import ROW_COLUMNS, read_archive, read_rows, to_float, to_uint8, write_archive


def make(num=5, size=6):
    rng = np.random.default_rng(num)
    rows = pd.DataFrame({"prompt_id": range(num), "candidate": 2, "caption": "a ring, “red”", "scene": ""})
    return rows, rng.integers(0, 256, (num, size, size, 3), dtype=np.uint8)


def test_every_level_comes_back():
    levels = np.arange(256 * 3, dtype=np.uint16).astype(np.uint8).reshape(1, 16, 16, 3)
    assert np.array_equal(to_uint8(to_float(levels)), levels)


def test_inside_a_picture_is_channels_first_and_at_most_one():
    pixels = np.zeros((1, 4, 5, 3), np.uint8)
    pixels[0, 1, 2] = (255, 51, 0)
    image = to_float(pixels)
    assert image.shape == (1, 3, 4, 5)
    assert image[0, :, 1, 2].tolist() == pytest.approx([1, 0.2, 0])
    assert image.sum().item() == pytest.approx(1.2)


def test_levels_are_clamped_and_rounded_to_the_nearest():
    values = torch.tensor([-3, 0.4 / 255, 0.6 / 255, 99.6 / 255, 1.2]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 1, 100, 255]


def test_an_archive_gives_back_rows_and_pixels(tmp_path):
    rows, pixels = make()
    write_archive(tmp_path / "new" / "a.parquet", rows.assign(score=0.5), pixels)
    read, seen = read_archive(tmp_path / "new" / "a.parquet")
    assert np.array_equal(seen, pixels)
    pd.testing.assert_frame_equal(read, rows, check_dtype=False)
    pd.testing.assert_frame_equal(read_rows(tmp_path / "new" / "a.parquet"), read)


def test_strangers_read_an_archive_with_datasets_alone(tmp_path):
    from datasets import Dataset

    rows, pixels = make()
    write_archive(tmp_path / "a.parquet", rows, pixels)
    first = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))[0]
    assert list(first) == [*ROW_COLUMNS, "image"]
    assert np.array_equal(np.asarray(first["image"]), pixels[0])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rows: rows.drop(columns="scene"), r"columns missing: \['scene'\]"),
        (lambda rows: rows.iloc[1:], "5 pictures for 4 rows"),
        (lambda rows: rows.assign(prompt_id=3), r"a \(prompt_id, candidate\) occurs twice"),
    ],
    ids=["column", "number", "twice"],
)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, spoil, says):
    rows, pixels = make()
    with pytest.raises(ValueError, match=says):
        write_archive(tmp_path / "a.parquet", spoil(rows), pixels)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    write_archive(tmp_path / "a.parquet", *make())
    table = pd.read_parquet(tmp_path / "a.parquet")
    table.at[3, "image"] = {"bytes": b"no picture", "path": None}
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row 3: the picture cannot be read"):
        read_archive(tmp_path / "a.parquet")


def test_pictures_of_different_sizes_are_no_archive(tmp_path):
    write_archive(tmp_path / "a.parquet", *make(size=6))
    write_archive(tmp_path / "b.parquet", *make(size=7))
    pd.concat([pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet")]).to_parquet(tmp_path / "c")
    with pytest.raises(ValueError, match=r"pictures of 2 sizes \[\(6, 6, 3\), \(7, 7, 3\)\]"):
        read_archive(tmp_path / "c")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    pd.DataFrame({"caption": ["a ring"]}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    for name in ("rows.parquet", "text.parquet"):
        for reading in (read_archive, read_rows):
            with pytest.raises(ValueError, match=f"{name} is no image archive: needed is parquet with columns"):
                reading(tmp_path / name)

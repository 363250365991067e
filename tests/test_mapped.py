"""Rows on the disk are read as if they stood in memory, and only their files' names go elsewhere."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from dalle.mapped import Mapped


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[Path], torch.Tensor]:
    """Three files, the second of which is empty, and all rows together."""
    parts = [np.arange(start, stop, dtype=np.uint16).reshape(-1, 2, 3) for start, stop in ((0, 30), (0, 0), (30, 42))]
    names = [tmp_path / f"{number}.npy" for number in range(3)]
    for name, part in zip(names, parts, strict=True):
        np.save(name, part)
    return names, torch.from_numpy(np.concatenate(parts))


def test_rows_are_those_of_all_files_one_after_the_other(files: tuple[list[Path], torch.Tensor]) -> None:
    names, whole = files
    rows = Mapped(names)
    assert (len(rows), rows.shape) == (7, (7, 2, 3))
    for which in (torch.tensor([6, 0, 4, 5, 5]), torch.tensor([], dtype=torch.long)):
        assert torch.equal(rows[which], whole[which])
    for which in (slice(None), slice(3), slice(0), slice(4, 6), slice(None, None, 3)):
        assert torch.equal(rows[which], whole[which])


def test_a_part_is_counted_from_its_own_begin(files: tuple[list[Path], torch.Tensor]) -> None:
    names, whole = files
    part = Mapped(names).part(2, 7).part(1, 4)
    assert torch.equal(part[:], whole[3:6])
    assert torch.equal(part[torch.tensor([2, 0])], whole[[5, 3]])


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_beyond_the_part_is_an_error(files: tuple[list[Path], torch.Tensor], row: int) -> None:
    with pytest.raises(IndexError, match=f"rows {row} to {row} of 3"):
        Mapped(files[0]).part(2, 5)[torch.tensor([row])]


def test_elsewhere_go_the_names_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.zeros((1000, 100)))
    rows = Mapped([tmp_path / "large.npy"]).part(1, 900)
    assert len(pickle.dumps(rows)) < 1000
    for again in (pickle.loads(pickle.dumps(rows)), copy.deepcopy(rows)):
        assert again.shape == (899, 100)
        assert again[:2].sum() == 0


def test_rows_of_several_kinds_are_refused(files: tuple[list[Path], torch.Tensor], tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((4, 2, 3)))
    with pytest.raises(ValueError, match=r"rows differ in shape or type: .*other\.npy.*allowed are rows of one kind"):
        Mapped([*files[0], tmp_path / "other.npy"])

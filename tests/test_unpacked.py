"""The dVAE's pictures as a mapped file: those of its archives, in their order, and refused where they do not fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dalle import mapped
from dalle.config.models import DVAE
from dalle.images import ROW_GROUP, iter_archive, write_archive
from dalle.models.dvae import make_dvae
from dalle.systems.dvae import DVAEStage
from dalle.training import dvae as training
from dalle.training.pixels import unpack_pictures


def write_pictures(path: Path, num: int, side: int = 8) -> np.ndarray:
    pixels = np.random.default_rng(num).integers(0, 256, (num, side, side, 3), dtype=np.uint8)
    write_archive(path, pd.DataFrame({"prompt_id": range(num), "candidate": 0, "caption": "", "scene": ""}), pixels)
    return pixels


@pytest.mark.parametrize("threads", [1, 4])
def test_they_are_the_archives_pictures_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    archives = [tmp_path / f"{number}.parquet" for number in range(3)]
    pixels = [write_pictures(*each) for each in zip(archives, (ROW_GROUP + 3, 0, 2), strict=True)]
    unpacked = unpack_pictures(archives, tmp_path / "pixels.npy", 4)
    expected = torch.from_numpy(np.concatenate(pixels)).permute(0, 3, 1, 2)
    assert torch.equal(unpacked[:], expected)
    assert isinstance(np.load(tmp_path / "pixels.npy", mmap_mode="r"), np.memmap)
    read = [picture for _, some in iter_archive(archives[0], 7, threads) for picture in some]
    assert np.array_equal(np.stack(read), pixels[0])


def test_a_picture_of_another_size_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 3 + [np.zeros((8, 12, 3), np.uint8)]
    rows = pd.DataFrame({"prompt_id": range(4), "candidate": 0, "caption": "", "scene": ""})
    write_archive(tmp_path / "mixed.parquet", rows, pictures)
    with pytest.raises(ValueError, match=r"dvae: pictures of sizes \[\(8, 8\), \(8, 12\)\]; allowed is one size"):
        unpack_pictures([tmp_path / "mixed.parquet"], tmp_path / "pixels.npy", 4)
    assert [file.name for file in tmp_path.iterdir()] == ["mixed.parquet"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """/dev/full takes nothing: as the disk would, where what is mapped could not be stored."""
    write_pictures(tmp_path / "train.parquet", 3)

    @contextmanager
    def full(_out: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(mapped, "atomic", full)
        unpack_pictures([tmp_path / "train.parquet"], tmp_path / "pixels.npy", 4)
    assert not (tmp_path / "pixels.npy").exists()


def test_without_any_picture_there_is_nothing_to_learn(tmp_path: Path) -> None:
    write_pictures(tmp_path / "empty.parquet", 0)
    with pytest.raises(ValueError, match=r"dvae: pictures of sizes \[\]; allowed is one size"):
        unpack_pictures([tmp_path / "empty.parquet"], tmp_path / "pixels.npy", 4)


def test_a_stage_learns_the_same_from_the_disk_as_from_memory(tmp_path: Path) -> None:
    pixels = write_pictures(tmp_path / "train.parquet", 6, 16)
    settings = DVAE(codes=8, width=8, downsample=4, start="random")
    torch.manual_seed(0)
    model, losses = make_dvae(settings), []
    memory = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for given in (memory, unpack_pictures([tmp_path / "train.parquet"], tmp_path / "pixels.npy", 4)):
        stage = DVAEStage(model, given, settings)
        assert not list(stage.buffers())  # or they would go to the device, all of them
        losses.append(stage(torch.tensor([4, 0]), 0, torch.Generator().manual_seed(0))[0])
    assert torch.equal(*losses)


def test_the_unpacked_pictures_go_when_the_training_ends_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "train.parquet", 4, 16)
    settings = DVAE(codes=4, width=8, downsample=4, start="random")
    seen = []

    def fit(stage: DVAEStage, *_rest: object) -> None:
        seen.append([file.name for file in (tmp_path / "dvae").glob("*.npy")])
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        training.train_dvae([tmp_path / "train.parquet"], tmp_path / "dvae", settings, 0)
    assert seen == [["pixels.npy"]]
    assert not list((tmp_path / "dvae").glob("*.npy"))

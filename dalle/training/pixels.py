"""The dVAE's pictures, unpacked once, by several threads, into a file that training maps: no update waits for PNG."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import UInt8

from dalle.images import ROW_GROUP, iter_archive
from dalle.mapped import Mapped, write_rows


def unpack_pictures(archives: Sequence[str | Path], out: Path, multiple: int) -> Mapped:
    """The pictures of all ``archives`` as ``out``, uint8 [pictures, 3, h, w]; a row group of them at a time in memory.

    As many threads decode as the job has. Raises ValueError for pictures of several sizes or of sides that are no
    multiple of ``multiple``, and as :func:`dalle.images.iter_archive` does; then there is no ``out``.
    """
    size = _size(archives, multiple)
    num = sum(pq.read_metadata(path).num_rows for path in archives)
    write_rows(out, num, _unpacked(archives, size, multiple), "pixels")
    return Mapped([out])


def _unpacked(
    archives: Sequence[str | Path], size: tuple[int, int], multiple: int
) -> Iterator[UInt8[np.ndarray, "some 3 h w"]]:
    for path in archives:
        for _, pictures in iter_archive(path, ROW_GROUP, torch.get_num_threads()):
            _check({picture.shape[:2] for picture in pictures} | {size}, multiple)
            yield np.stack(pictures).transpose(0, 3, 1, 2)


def _size(archives: Sequence[str | Path], multiple: int) -> tuple[int, int]:
    """Height and width of the first picture of every archive that has one."""
    first = [next(iter_archive(path, 1), (None, []))[1] for path in archives]
    sizes = {picture.shape[:2] for pictures in first for picture in pictures}
    _check(sizes, multiple)
    return sizes.pop()


def _check(sizes: set[tuple[int, int]], multiple: int) -> None:
    if len(sizes) != 1 or any(side % multiple for size in sizes for side in size):
        raise ValueError(
            f"dvae: pictures of sizes {sorted(sizes)}; allowed is one size, whose sides are multiples of {multiple}"
        )

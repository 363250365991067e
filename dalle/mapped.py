"""Rows of arrays that stay on the disk: what a training reads a batch of, however much there is of it."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from tqdm import tqdm

from dalle.provenance import atomic


def write_rows(out: Path, num: int, parts: Iterator[Shaped[np.ndarray, "some ..."]], name: str) -> None:
    """``num`` rows that come in one or more ``parts``, as a .npy file; ``name`` stands before the progress bar.

    Written and not mapped: of a disk that is full a write says so, a mapped page ends the process.
    """
    first = next(parts)
    facts = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
    progress = tqdm(total=num, desc=name, unit=" pictures", disable=None)
    with atomic(out) as temporary, open(temporary, "wb") as file, progress:
        np.lib.format.write_array_header_1_0(file, facts | {"shape": (num, *first.shape[1:])})
        for part in chain([first], parts):
            file.write(part.tobytes())
            progress.update(len(part))


class Mapped:
    """The rows of .npy ``files``, one file after the other; of all of them those from ``start`` to before ``stop``.

    ``rows[indices]`` and ``rows[:n]`` read these rows, on the CPU. A copy, and what goes to another process, is the
    names of the files and nothing of their content. Raises ValueError for files whose rows differ in shape or type.
    """

    def __init__(self, files: Sequence[str | Path], start: int = 0, stop: int | None = None) -> None:
        self.files = [Path(file) for file in files]
        self._ends = np.cumsum([len(each) for each in self._arrays])
        self.start, self.stop = start, int(self._ends[-1]) if stop is None else stop
        kinds = {
            str(file): (each.shape[1:], each.dtype.name) for file, each in zip(self.files, self._arrays, strict=True)
        }
        if len(set(kinds.values())) > 1:
            raise ValueError(f"files whose rows differ in shape or type: {kinds}; allowed are rows of one kind")

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._arrays[0].shape[1:])

    def part(self, start: int, stop: int) -> "Mapped":
        """The rows from ``start`` to before ``stop``, still on the disk."""
        return Mapped(self.files, self.start + start, self.start + stop)

    def __getitem__(self, which: slice | Int64[Tensor, " rows"]) -> Shaped[Tensor, "rows ..."]:
        chosen = np.arange(*which.indices(len(self))) if isinstance(which, slice) else which.numpy()
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(f"rows {chosen.min()} to {chosen.max()} of {len(self)}")
        files = np.searchsorted(self._ends, chosen + self.start, side="right")
        read = np.empty((len(chosen), *self.shape[1:]), self._arrays[0].dtype)
        for number in np.unique(files):
            here = files == number
            first = self._ends[number] - len(self._arrays[number])
            read[here] = self._arrays[number][chosen[here] + self.start - first]
        return torch.from_numpy(read)

    @cached_property
    def _arrays(self) -> list[Shaped[np.ndarray, "rows ..."]]:
        return [np.load(file, mmap_mode="r") for file in self.files]

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_arrays"}

"""From encoded photographs to the squares of an archive: decoded and cut by several threads, oddities counted.

Pillow lets other threads run while it decodes, resizes and packs, so threads are enough and nothing is copied between
processes. At most a row group of pictures is in memory.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from PIL.Image import MAX_IMAGE_PIXELS as MAX_PIXELS
from PIL.Image import Image, fromarray
from PIL.Image import open as open_image
from tqdm import tqdm

from dalle.data.crops import Square, around_box, centred, for_dvae, for_prior, is_inside
from dalle.data.oddities import oddities
from dalle.data.sources.table import Source
from dalle.images import ROW_GROUP, Append, archive_writer, decode_picture
from dalle.seeding import seed_for

T = TypeVar("T")
JPEG = b"\xff\xd8"  # what such files begin with
CROPS = {"prior": for_prior, "dvae": for_dvae}  # by chance; the third kind is "centred"


class Print(NamedTuple):
    """One row of an archive to be: of which picture, for which archive, under which words, and how it is cut."""

    picture: int
    archive: str
    prompt_id: int
    candidate: int
    caption: str
    crop: str  # centred, prior, dvae


Developed = tuple[Print, Square, bool]  # the last: whether it came from a lossy file


class Darkroom:
    """Makes prints of a source's pictures, ``side`` pixels wide. Remembers what was unusual about each picture.

    ``odd`` has the names of the rules (see :mod:`dalle.data.oddities`) that a picture called for; ``unreadable`` why
    one could not be read. Such a picture is left out. Raises ValueError if boxes are wanted and there are none.
    """

    def __init__(self, source: Source, side: int, around_boxes: bool, workers: int, seed: int) -> None:
        if around_boxes and not source.boxes:
            raise ValueError(f"data.crop: {source.name} has no boxes; allowed is centre")
        self.source, self.side, self.workers, self.seed = source, side, workers, seed
        self.around_boxes = around_boxes
        self.odd: dict[int, set[str]] = {}
        self.unreadable: dict[int, str] = {}
        of_picture = source.pictures.set_index("picture")
        self._sizes = of_picture[["width", "height"]].apply(tuple, axis=1).to_dict()
        self._ids, self._files = of_picture["image_id"].to_dict(), of_picture["file"].to_dict()

    def look(self, pictures: Iterable[int]) -> None:
        """Opens pictures without making prints: afterwards ``odd`` and ``unreadable`` know them."""
        for _ in self._in_workers(self._decode, list(pictures)):
            pass

    def write(self, prints: Sequence[Print], folder: Path) -> Counter[str]:
        """The archives that the prints are for, rows in their order, and how many rows each has.

        Prints of a picture that follow each other are made from one decoding.
        """
        written: Counter[str] = Counter()
        with ExitStack() as stack:
            names = dict.fromkeys(each.archive for each in prints)
            add = {name: stack.enter_context(_pages(folder / f"{name}.parquet")) for name in names}
            for each, square, is_lossy in self.develop(prints):
                add[each.archive](each, square, is_lossy)
                written[each.archive] += 1
        return written

    def develop(self, prints: Sequence[Print]) -> Iterator[Developed]:
        """Every print of a picture that can be read, in their order: its square, and whether its file is lossy."""
        return chain.from_iterable(self._in_workers(self._of_one, _runs(prints)))

    def _of_one(self, prints: list[Print]) -> list[Developed]:
        picture = prints[0].picture
        decoded = self._decode(picture)
        return [(each, self._cut(decoded[0], each), decoded[1]) for each in prints] if decoded else []

    def _decode(self, picture: int) -> tuple[Image, bool] | None:
        """A picture in RGB, cut around its box if that is wanted, and whether its file is lossy."""
        try:
            data = self.source.read(picture)
            odd = oddities(data)
            image, is_lossy = _rgb(data, odd, f"{self.source.name}: {self._files[picture]}")
        except (OSError, ValueError) as error:
            logging.warning("left out: %s", error)
            self.odd[picture], self.unreadable[picture] = {"unreadable"}, str(error)
            return None
        if self._sizes[picture] != image.size:
            odd.add("other size")
        if self.around_boxes:
            box = self.source.boxes[picture]
            odd |= set() if is_inside(image, box) else {"box outside"}
            image = around_box(image, box)
        if min(image.size) < self.side:
            odd.add("small")
        self.odd[picture] = odd
        return image, is_lossy

    def _cut(self, image: Image, each: Print) -> Square:
        if each.crop == "centred":
            return centred(image, self.side)
        chance = seed_for(self.seed, "crop", each.crop, self._ids[each.picture], each.candidate)
        return CROPS[each.crop](image, self.side, np.random.default_rng(chance))

    def _in_workers(self, do: Callable[..., T], items: list) -> Iterator[T]:
        """``map`` in threads, results in order; a row group of them at a time."""
        progress = tqdm(total=len(items), desc="pictures", unit=" pictures", disable=None)
        with ThreadPoolExecutor(self.workers) as pool, progress:
            rest = iter(items)
            while some := list(islice(rest, ROW_GROUP)):
                yield from pool.map(do, some)
                progress.update(len(some))


def _rgb(data: bytes, odd: set[str], name: str) -> tuple[Image, bool]:
    """The picture of a file, by the one law of pixels, and whether the file is lossy. Raises ValueError as that does.

    A plain JPEG is taken from Pillow as it is: its pixels are the same, and copying them back and forth is a third of
    the work.
    """
    if not odd and data.startswith(JPEG):
        with suppress(OSError, SyntaxError, ValueError):  # that decode_picture tells better
            image = open_image(BytesIO(data), formats=["JPEG"])
            if image.format == "JPEG" and image.mode == "RGB" and image.width * image.height < MAX_PIXELS:
                image.load()
                return image, True
    pixels, is_lossy = decode_picture(data, name)
    return fromarray(pixels), is_lossy


def _runs(prints: Sequence[Print]) -> list[list[Print]]:
    """Prints of one picture that follow each other."""
    runs: list[list[Print]] = []
    for each in prints:
        if runs and runs[-1][0].picture == each.picture:
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs


@contextmanager
def _pages(path: Path) -> Iterator[Callable[[Print, Square, bool], None]]:
    """An archive to add single prints to: a row group is written when it is full."""
    with archive_writer(path) as append:
        page: list[Developed] = []

        def add(*each: object) -> None:
            page.append(each)
            if len(page) == ROW_GROUP:
                _append(append, page)

        yield add
        _append(append, page)


def _append(append: Append, page: list[Developed]) -> None:
    if page:
        prints, squares, lossy = zip(*page, strict=True)
        columns = ["prompt_id", "candidate", "caption"]
        rows = pd.DataFrame([[getattr(each, name) for name in columns] for each in prints], columns=columns)
        append(rows.assign(scene="", lossy=lossy), np.stack(squares))
        page.clear()

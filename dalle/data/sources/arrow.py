"""Anybody's captioned pictures through ``datasets``: parquet files, or a data set on the hub.

``datasets`` maps its Arrow files into memory, so a set may be larger than that. A set that is larger than the disk is
read as a stream, once, and what is kept of it is small: see :func:`keep_of_stream`.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from weakref import finalize

from dalle.data.crops import shrink
from dalle.data.sources.table import Source, make_source, refuse
from dalle.images import ROW_GROUP, Picture, decode_picture
from dalle.manifest import picture_bytes
from dalle.provenance import atomic

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from dalle.config.data import Columns

LEFT_OUT = "unreadable pictures of the stream, left out"
Cell = Mapping[str, Any]  # of a picture: bytes, or the path of a file


def read_parquet(paths: Mapping[str, Iterable[str | Path]], columns: "Columns") -> Source:
    """The parquet files of each split, with exactly one column of pictures.

    Their copy, from which any row can be read alone, lies in a temporary folder for as long as the source is in use.
    """
    files = {split: [str(path) for path in some] for split, some in paths.items()}
    missing = [path for some in files.values() for path in some if not Path(path).is_file()]
    refuse("parquet files", {"missing files": missing})
    copy = TemporaryDirectory()  # not the user's cache, which knows a file by its name and time
    splits = _load("parquet", cache_dir=copy.name, data_files=files)
    source = _of_splits(splits, f"parquet files of {', '.join(files)}", columns, is_by_name=False)
    finalize(source.read, copy.cleanup)
    return source


def read_hub(name: str, revision: str, columns: "Columns") -> Source:
    """A data set on the hub, kept in the user's cache of ``datasets``."""
    return _of_splits(_load(name, revision=revision), name, columns, is_by_name=True)


def _load(name: str, **where: Any) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(name, **where)
    except (OSError, ValueError, DatasetsError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]  # datasets itself says only that there was an error
        raise ValueError(f"data set {name}: it cannot be loaded ({reason})") from None


@dataclass(frozen=True)
class Part:
    """A split, its pictures still encoded, and the number of the first of them among those of all splits."""

    split: str
    dataset: "Dataset"
    column: str  # of pictures
    first: int

    def cell(self, row: int) -> Cell:
        return self.dataset[row : row + 1][self.column][0]


def _of_splits(splits: "Mapping[str, Dataset]", name: str, columns: "Columns", is_by_name: bool) -> Source:
    from datasets import Image

    parts: list[Part] = []
    num = 0
    for split, dataset in splits.items():
        column = _image_column(dataset.features, f"{name}, split {split}")
        parts.append(Part(split, dataset.cast_column(column, Image(decode=False)), column, num))
        num += len(dataset)
    rows = [row for part in parts for row in _rows(part, columns, name)]

    def read(picture: int) -> bytes:
        part = next(part for part in reversed(parts) if part.first <= picture)
        return picture_bytes(part.cell(picture - part.first), is_by_name)

    return make_source(name, [row | {"prompt_id": number} for number, row in enumerate(rows)], read)


def _rows(part: Part, columns: "Columns", name: str) -> Iterator[dict[str, Any]]:
    wanted = [each for each in (columns.caption, columns.category, columns.image_id) if each]
    features = part.dataset.features
    if unknown := [each for each in wanted if each not in features]:
        raise ValueError(f"{name}: there is no column {unknown[0]!r}; its columns are {list(features)}")
    names = getattr(features.get(columns.category), "names", None)  # of a ClassLabel, which stores numbers
    known: dict[str, int] = {}
    for row, cells in enumerate(part.dataset.select_columns(wanted)):
        file = f"{part.split}, row {row}"
        image_id = str(cells[columns.image_id]) if columns.image_id else file
        category = _category(cells[columns.category], names) if columns.category else ""
        place = {"image_id": image_id, "split": part.split, "picture": known.setdefault(image_id, part.first + row)}
        place |= {"category": category, "file": file}
        captions = cells[columns.caption]
        captions = captions if isinstance(captions, list) else [captions or ""]
        yield from (place | {"caption": _text(caption, name)} for caption in captions or [""])


def _category(value: Any, names: Sequence[str] | None) -> Any:
    """A class's name; '' for none, which ClassLabels write as -1."""
    if value is None or (names and value < 0):
        return ""
    return names[value] if names else value


def _text(caption: Any, name: str) -> str:
    if not isinstance(caption, str):
        raise ValueError(f"{name}: the caption {caption!r} is no text; allowed are texts and lists of texts")
    return caption


def _image_column(features: "Features", name: str) -> str:
    from datasets import Image

    found = [column for column, kind in features.items() if isinstance(kind, Image)]
    if len(found) != 1:
        raise ValueError(f"{name}: its columns are {list(features)}; exactly one is to hold pictures")
    return found[0]


def keep_of_stream(name: str, out: str | Path, side: int, num: int | None = None, **where: Any) -> dict[str, int]:
    """Reads a split of a data set as a stream and keeps of each picture what has ``side`` pixels in the shorter side.

    ``where`` is what ``datasets.load_dataset`` takes beside the name; ``num`` pictures are kept at most. ``out`` is a
    parquet file for :func:`read_parquet` with all the set's columns; its pictures are resized by Pillow's antialiased
    bicubic kernel, never enlarged, lossless from here on. Says how many were left out because they cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = _load(name, streaming=True, **where)
    column = _image_column(stream.features or {}, name)
    schema = stream.features.arrow_schema
    counts = {"kept": 0, LEFT_OUT: 0}
    kept = _kept(stream.decode(False), column, side, name, counts)
    # A half-read file is closed here: Arrow aborts the process that leaves it to the end (apache/arrow#45214).
    with closing(kept), atomic(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows = islice(kept, num)
        while some := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            counts["kept"] += len(some)
    return counts


def _kept(
    stream: Iterable[dict[str, Any]], column: str, side: int, name: str, counts: dict[str, int]
) -> Generator[dict[str, Any], None, None]:
    for number, cells in enumerate(stream):
        try:
            pixels, _ = decode_picture(picture_bytes(cells[column], is_by_name=False), f"{name}, row {number}")
        except ValueError:
            counts[LEFT_OUT] += 1
        else:
            yield cells | {column: {"bytes": _small_png(pixels, side), "path": None}}


def _small_png(pixels: Picture, side: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    shrink(Image.fromarray(pixels), side).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()

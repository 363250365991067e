"""Strangers' pictures: which one answers which prompt, strictly, each read and decoded only when it is asked for.

A source says of every picture ``prompt_id`` or ``caption`` (or both), and where there are several for a prompt
``candidate``, counted from 0, and perhaps ``score``. What is missing, there twice or left over is an error here,
because no metric could see it later.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8

from dalle.images import decode_picture
from dalle.listing import SHOWN, SUFFIXES, pictures_below, some

if TYPE_CHECKING:
    from datasets import Dataset, Features


@dataclass(frozen=True)
class Pictures:
    """Pictures that lie encoded somewhere, and what is said of them.

    ``rows`` has the columns file and candidate, and of prompt_id, caption and score those that the source has. Its
    index is where the source has the picture; it stays with the row when rows are put in another order.
    """

    source: str
    rows: pd.DataFrame
    read: Callable[[int], bytes]  # a picture's file, by the index of its row

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, number: int) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
        """The picture of the row at position ``number``, and whether it is lossy. Raises ValueError that names it."""
        name = f"{self.source}: {self.rows['file'].iloc[number]}"
        try:
            data = self.read(int(self.rows.index[number]))
        except OSError as error:
            raise ValueError(f"{name}: the file cannot be read ({error})") from None
        return decode_picture(data, name)

    def answering(self, prompts: pd.DataFrame) -> "Pictures":
        """The same pictures in the order of ``prompts``. Raises ValueError as :func:`match`."""
        return replace(self, rows=match(self.rows, prompts, self.source))


def open_pictures(path: str | Path, manifest: str | Path | None = None) -> Pictures:
    """The pictures of a folder or of a ``.parquet`` file; the latter is its own manifest."""
    if Path(path).suffix != ".parquet":
        return read_folder(path, manifest)
    if manifest is not None:
        raise ValueError(f"{path}: a parquet file says itself what it answers; a manifest ({manifest}) is for a folder")
    return read_parquet(path)


def numbered(pictures: Pictures) -> Pictures:
    """The pictures of a source for themselves, as a reference: each its own prompt, whatever it was said to answer."""
    rows = pictures.rows[["file"]].assign(prompt_id=range(len(pictures)), candidate=0)
    return replace(pictures, rows=rows)


def read_folder(folder: str | Path, manifest: str | Path | None = None) -> Pictures:
    """The pictures in a folder and its subfolders, as the CSV file ``manifest`` describes them.

    Without a manifest, prompt_id is the position among the sorted file names. Files that are no pictures are left
    alone, and the log says so. Raises ValueError unless the manifest names all pictures of the folder and no others,
    and for pictures in a format that is not read.
    """
    folder = Path(folder)
    found, _ = pictures_below(folder, [] if manifest is None else [os.path.relpath(manifest, folder)])
    if not found:
        raise ValueError(f"{folder}: there is no picture in it; pictures end in {', '.join(SUFFIXES)}")
    if manifest is None:
        rows = pd.DataFrame({"file": found, "prompt_id": range(len(found)), "candidate": 0})
    else:
        rows = read_manifest(manifest)
        named = set(rows["file"])
        complaints = [
            _complaint("missing pictures", sorted(named - set(found))),
            _complaint(f"pictures that are not in {manifest}", sorted(set(found) - named)),
        ]
        _refuse(str(folder), complaints)
    files = rows["file"].tolist()
    return Pictures(str(folder), rows, lambda number: (folder / files[number]).read_bytes())


def read_manifest(path: str | Path) -> pd.DataFrame:
    """The rows of a CSV file with the columns ``file`` (relative to its folder) and prompt_id or caption.

    Raises ValueError for another file, for values that are not of their type, and for a file outside the folder.
    """
    heading, lines = read_csv(path, "file")
    rows = _typed(pd.DataFrame(lines, columns=heading, dtype=object), str(path))
    return rows.assign(file=[_inside(name, path) for name in rows["file"]])


def read_csv(path: str | Path, *needed: str) -> tuple[list[str], list[dict[str, str]]]:
    """The heading of a CSV file in UTF-8, and its lines as texts by their column.

    Raises ValueError for another file, for a line that has not as many fields as the heading, without a ``needed``
    column, and for a column that is there twice.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:  # -sig: spreadsheets begin with a mark
            reader = csv.DictReader(stream, strict=True)
            heading, lines = list(reader.fieldnames or []), list(_whole_lines(reader))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: it cannot be read as CSV in UTF-8 ({error})") from None
    if not set(needed) <= set(heading) or len(set(heading)) < len(heading):
        raise ValueError(f"{path}: its columns are {heading}; needed are {', '.join(needed)}, and none there twice")
    return heading, lines


def _whole_lines(reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    for line in reader:
        if None in line or None in line.values():
            what = f"line {reader.line_num} has not as many fields as the heading"
            raise csv.Error(f"{what}; text with a comma stands in quotes")
        yield line


def _inside(name: str, manifest: str | Path) -> str:
    if leads_outside(name):
        raise ValueError(f"{manifest}: {name!r} leaves the folder; allowed are names relative to it, without ..")
    return PurePosixPath(name).as_posix()


def leads_outside(name: str) -> bool:
    """Whether a name, relative to a folder, may lead out of it."""
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts


def read_parquet(path: str | Path) -> Pictures:
    """The pictures of a parquet file: a ``datasets`` Image column, or bytes in a column ``image``; ids beside it.

    While in use, the file has a copy in a temporary folder, from which any row can be read alone. Raises ValueError for
    another file and for values that are not of their type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.exceptions import DatasetsError

    copy = TemporaryDirectory()  # not the user's cache, which knows a file by its name and time
    try:
        if not pq.read_metadata(path).num_rows:  # what datasets says of such files helps nobody
            raise ValueError(f"{path}: it names no picture")
        dataset = Dataset.from_parquet(str(path), cache_dir=copy.name)
    except (OSError, pa.ArrowInvalid, DatasetsError) as error:
        raise ValueError(f"{path} cannot be read as parquet ({_first_line(error)})") from None
    pictures = _of_dataset(dataset, str(path), is_by_name=False)
    finalize(pictures.read, copy.cleanup)
    return pictures


def read_hub(name: str, split: str) -> Pictures:
    """The pictures of a data set on the hub (or in a local folder), as ``datasets.load_dataset`` finds it.

    Columns as in :func:`read_parquet`. Raises ValueError if it cannot be loaded.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        dataset = load_dataset(name, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        raise ValueError(f"data set {name}, split {split}: it cannot be loaded ({_first_line(error)})") from None
    return _of_dataset(dataset, f"{name}, split {split}", is_by_name=True)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _of_dataset(dataset: "Dataset", source: str, is_by_name: bool) -> Pictures:
    from datasets import Image

    column = _image_column(dataset.features, source)
    encoded = dataset.select_columns([column]).cast_column(column, Image(decode=False))
    ids = dataset.select_columns([name for name in _KINDS if name in dataset.features and name != "file"])
    files = [f"row {number}" for number in range(len(dataset))]
    rows = _typed(pd.DataFrame({"file": files, **ids.to_dict()}, dtype=object), source)

    def read(number: int) -> bytes:
        return picture_bytes(encoded[number][column], is_by_name)

    return Pictures(source, rows, read)


def picture_bytes(cell: Mapping[str, Any] | None, is_by_name: bool) -> bytes:
    """The file in a cell of ``datasets``, or, if these may be given by name, the one that it names.

    Raises OSError for a name where there is to be none, as in a parquet file: who made it does not choose which files
    of this machine are read. And for the name of what is no plain file: a device has no end.
    """
    data, path = (cell or {}).get("bytes"), (cell or {}).get("path")
    if data or not path:
        return data or b""
    if not is_by_name or not Path(path).is_file():
        raise PermissionError(f"it has no bytes, and the file {path!r} is not read")
    return Path(path).read_bytes()


def _image_column(features: "Features", source: str) -> str:
    from datasets import Image, Value

    columns = [name for name, kind in features.items() if isinstance(kind, Image)]
    plain = features.get("image")
    is_struct = isinstance(plain, dict) and "bytes" in plain
    if not columns and (is_struct or plain in (Value("binary"), Value("large_binary"))):
        return "image"
    if len(columns) != 1:
        raise ValueError(f"{source}: its columns are {list(features)}; exactly one is to hold pictures")
    return columns[0]


def _typed(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """file, candidate (0 where nothing is said) and the ids, each of its type; other columns are left out."""
    if not {"prompt_id", "caption"} & set(table.columns):
        raise ValueError(f"{source}: its columns are {list(table.columns)}; needed is prompt_id or caption")
    if table.empty:
        raise ValueError(f"{source}: it names no picture")
    columns: dict[str, Any] = {"candidate": 0}
    for name, kind in _KINDS.items():
        try:
            columns |= {name: [kind(value) for value in table[name]]} if name in table else {}
        except ValueError as error:
            raise ValueError(f"{source}: {name} {error}") from None
    return pd.DataFrame(columns)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value.strip()


def _whole_number(value: object) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", str(value).strip()):
        raise ValueError(f"{value!r} is no whole number ≥ 0")
    return int(str(value))


def _number(value: object) -> float:
    if not re.fullmatch(r"[-+0-9.eE]+", str(value).strip()) or not isfinite(float(str(value))):
        raise ValueError(f"{value!r} is no finite number")
    return float(str(value))


_KINDS = {"file": _text, "prompt_id": _whole_number, "candidate": _whole_number, "caption": _text, "score": _number}


def prompts_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The prompts that the rows of a source name, sorted: prompt_id and caption ('' where nothing is said).

    Where rows have captions alone, prompt_id counts the sorted captions: equal sets of captions, equal numbers.
    """
    names = [name for name in ("prompt_id", "caption") if name in rows]
    prompts = rows[names].drop_duplicates(names[0]).sort_values(names[0], ignore_index=True)
    defaults = {"prompt_id": prompts.index, "caption": ""}
    return prompts.assign(**{name: value for name, value in defaults.items() if name not in names})


def match(rows: pd.DataFrame, prompts: pd.DataFrame, source: str) -> pd.DataFrame:
    """The rows in the order of ``prompts`` and of their candidates, with prompt_id and caption of their prompt.

    ``prompts`` has prompt_id and caption, one row a prompt. Rows are matched by prompt_id where they have it, else by
    caption, apart from white space at its ends. Raises one ValueError that tells all that is missing, there twice or
    unknown, unless each prompt has exactly one picture for each of the candidates 0 … k - 1; and rows with both ids
    agree with the prompts in both.
    """
    positions = _positions(rows, prompts, source)
    known = positions >= 0
    times = Counter(zip(positions[known].tolist(), rows["candidate"][known].tolist(), strict=True))
    candidates = range(max((candidate for _, candidate in times), default=0) + 1)
    id_column = _id_column(rows)

    def named(keys: Iterable[tuple[int, int]]) -> list[str]:
        among = " candidate {}" if len(candidates) > 1 else ""
        ids = prompts[id_column].tolist()
        return [f"{id_column} {ids[prompt]!r}{among.format(candidate)}" for prompt, candidate in keys]

    wanted = ((prompt, candidate) for prompt in range(len(prompts)) for candidate in candidates)
    missing = islice((key for key in wanted if key not in times), SHOWN)
    complaints = [
        _complaint("missing", named(missing), len(prompts) * len(candidates) - len(times)),
        _complaint("more than once", named(key for key, num in times.items() if num > 1)),
        _complaint(f"unknown {id_column}", [repr(value) for value in dict.fromkeys(rows[id_column][~known])]),
        _complaint("caption is not that of prompt_id", _reworded(rows[known], prompts, positions[known])),
    ]
    _refuse(source, complaints)
    matched = rows.assign(**{name: prompts[name].to_numpy()[positions] for name in ("prompt_id", "caption")})
    return matched.iloc[np.lexsort([rows["candidate"], positions])]


def _id_column(rows: pd.DataFrame) -> str:
    return "prompt_id" if "prompt_id" in rows else "caption"


def _positions(rows: pd.DataFrame, prompts: pd.DataFrame, source: str) -> Int64[np.ndarray, " n"]:
    """Where in ``prompts`` each row's prompt stands; -1 for one that is not there."""
    id_column = _id_column(rows)
    ids = pd.Index(prompts[id_column].str.strip() if id_column == "caption" else prompts[id_column])
    if ids.has_duplicates:  # a prompt_id never has
        shared = ids[ids.duplicated()][0]
        raise ValueError(
            f"{source}: {shared!r} is the caption of several prompts; a column prompt_id must say of which"
        )
    return ids.get_indexer(rows[id_column])


def _reworded(rows: pd.DataFrame, prompts: pd.DataFrame, positions: Int64[np.ndarray, " n"]) -> list[str]:
    if not {"prompt_id", "caption"} <= set(rows.columns):
        return []
    differ = rows["caption"].to_numpy() != prompts["caption"].str.strip().to_numpy()[positions]
    return [str(prompt_id) for prompt_id in dict.fromkeys(rows["prompt_id"][differ])]


def _complaint(what: str, examples: list[str], num: int | None = None) -> str:
    """'missing: 7 (a, b, c, d, e, …)', of examples of which there are ``num``; nothing if there is none."""
    num = len(examples) if num is None else num
    return f"{what}: {some(examples, num)}" if num else ""


def _refuse(source: str, complaints: list[str]) -> None:
    if any(complaints):
        raise ValueError(f"{source}: {'; '.join(filter(None, complaints))}")

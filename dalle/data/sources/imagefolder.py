"""A folder of pictures with a metadata.csv: the layout of ``datasets``' imagefolder, read by rules that can be said.

``datasets`` itself finds splits in any name that has test, val, dev, eval … in it and then leaves out all the others,
takes pictures without a line and the caption "NA" for nothing, and says none of this.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dalle.data.sources.table import OTHERS, Source, differences, file_reader, make_source, refuse
from dalle.listing import files_below, pictures_below
from dalle.manifest import read_csv

if TYPE_CHECKING:
    from dalle.config.data import Columns

METADATA = "metadata.csv"
SPLITS = ("train", "val", "validation", "test")
Line = tuple[str, dict[str, str]]  # a picture's name, and what is said of it


def read_imagefolder(folder: str | Path, columns: "Columns") -> Source:
    """Pictures with ``metadata.csv`` (file_name, relative to it, and the caption) beside or above them.

    The subfolders train/, val/, validation/ and test/ are splits; without any of them all is "train". A file with
    several lines is one picture with several captions; image_id is its name, unless a column says otherwise. Raises
    ValueError where metadata and folder do not name the same pictures, and for pictures that are in none of the splits.
    """
    folder = Path(folder)
    described = [name for name in files_below(folder) if PurePosixPath(name).name == METADATA]
    there, others = pictures_below(folder, described)
    if not described:
        raise ValueError(f"{folder}: there is no {METADATA} in it, which says of each file_name its {columns.caption}")
    lines = [line for name in described for line in _lines(folder, name, columns)]
    refuse(str(folder), differences([file for file, _ in lines], there, METADATA))
    splits = _splits(there, str(folder))
    number = {file: picture for picture, file in enumerate(there)}
    rows = [
        {"prompt_id": row, "caption": said[columns.caption], "split": splits[file], "file": file}
        | {"image_id": said[columns.image_id] if columns.image_id else file, "picture": number[file]}
        | {"category": said[columns.category] if columns.category else ""}
        for row, (file, said) in enumerate(lines)
    ]
    _refuse_shared_ids([(row["image_id"], row["file"]) for row in rows], f"{folder}, column {columns.image_id}")
    return make_source(str(folder), rows, file_reader(folder, there), notes={OTHERS: len(others)})


def _lines(folder: Path, name: str, columns: "Columns") -> Iterator[Line]:
    wanted = [each for each in ("file_name", columns.caption, columns.category, columns.image_id) if each]
    _, lines = read_csv(folder / name, *wanted)
    yield from ((PurePosixPath(name).parent.joinpath(line["file_name"]).as_posix(), line) for line in lines)


def _splits(files: Sequence[str], name: str) -> dict[str, str]:
    """The split of each file."""
    tops = {file: PurePosixPath(file).parts[0] for file in files}
    if not set(tops.values()) & set(SPLITS):
        return dict.fromkeys(files, "train")
    outside = [file for file, top in tops.items() if top not in SPLITS]
    refuse(name, {f"pictures in none of the splits {', '.join(f'{split}/' for split in SPLITS)}": outside})
    return tops


def _refuse_shared_ids(pairs: Sequence[tuple[str, str]], name: str) -> None:
    files: dict[str, set[str]] = {}
    for image_id, file in pairs:
        files.setdefault(image_id, set()).add(file)
    refuse(name, {"ids of several files": [image_id for image_id, some in files.items() if len(some) > 1]})

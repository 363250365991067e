"""MS-COCO in its own layout, 2014 and 2017, and Karpathy's splits of the 2014 pictures."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dalle.data.sources.table import Source, differences, file_reader, listed, make_source, refuse
from dalle.manifest import leads_outside

SPLITS = ("train", "val")


def read_coco(folder: str | Path, year: int, splits: tuple[str, ...] = SPLITS) -> Source:
    """``annotations/captions_{split}{year}.json`` and the pictures in ``{split}{year}/``.

    prompt_id is the annotation's id, image_id the picture's, width and height are those of the annotations. Raises
    ValueError for a file that is no such file, and where captions, the list of pictures and the folder do not have the
    same pictures.
    """
    folder = Path(folder)
    files: list[str] = []
    rows: list[dict[str, Any]] = []
    notes: Counter[str] = Counter()
    for split in splits:
        rows += _rows_of_split(folder, f"{split}{year}", split, files, notes)
    return make_source(f"COCO {year} in {folder}", rows, file_reader(folder, files), notes=notes)


def _rows_of_split(
    folder: Path, pictures: str, split: str, files: list[str], notes: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The captions of a split, picture by picture. Adds the names of its pictures to ``files``, and counts others."""
    path = folder / "annotations" / f"captions_{pictures}.json"
    said = _read(path, images={"id", "file_name", "width", "height"}, annotations={"id", "image_id", "caption"})
    captions: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in said["images"]}
    strange = [str(each["image_id"]) for each in said["annotations"] if each["image_id"] not in captions]
    refuse(str(path), {"captions of pictures that are not listed": strange})
    for each in said["annotations"]:
        captions[each["image_id"]].append(each)
    there = listed(folder / pictures, notes)
    names = [image["file_name"] for image in said["images"]]
    silent = [image["file_name"] for image in said["images"] if not captions[image["id"]]]
    refuse(str(folder / pictures), differences(names, there, path.name) | {"pictures without a caption": silent})
    for image in said["images"]:
        place = {"image_id": image["id"], "split": split, "width": image["width"], "height": image["height"]}
        place |= {"file": f"{pictures}/{image['file_name']}", "picture": len(files)}
        files.append(place["file"])
        yield from (place | {"prompt_id": each["id"], "caption": each["caption"]} for each in captions[image["id"]])


def read_karpathy(folder: str | Path, file: str | Path) -> Source:
    """The pictures that ``dataset_coco.json`` names, in its splits train, restval, val and test.

    prompt_id is the sentence's id, which is the annotation's; the caption is its raw text. Raises ValueError for
    another file, and where a picture is missing, or one of its folders has some that the file does not name.
    """
    folder, file = Path(folder), Path(file)
    said = _read(file, images={"filepath", "filename", "split", "cocoid", "sentences"})["images"]
    files = [f"{image['filepath']}/{image['filename']}" for image in said]
    folders = sorted({image["filepath"] for image in said})
    refuse(str(file), {"folders outside": [name for name in folders if leads_outside(name)]})
    notes: Counter[str] = Counter()
    there = [f"{name}/{picture}" for name in folders for picture in listed(folder / name, notes)]
    strange = [name for name, image in zip(files, said, strict=True) if not _are_sentences(image["sentences"])]
    refuse(str(file), {"pictures whose sentences are no list with raw and sentid": strange})
    silent = [name for name, image in zip(files, said, strict=True) if not image["sentences"]]
    refuse(str(folder), differences(files, there, file.name) | {"pictures without a caption": silent})
    rows = (
        {"prompt_id": sentence["sentid"], "caption": sentence["raw"]}
        | {"image_id": image["cocoid"], "split": image["split"], "file": files[picture], "picture": picture}
        for picture, image in enumerate(said)
        for sentence in image["sentences"]
    )
    return make_source(f"COCO in {folder}, splits of {file.name}", rows, file_reader(folder, files), notes=notes)


def _are_sentences(said: Any) -> bool:
    return isinstance(said, list) and all(isinstance(each, dict) and {"raw", "sentid"} <= each.keys() for each in said)


def _read(path: Path, **lists: set[str]) -> dict[str, list[dict[str, Any]]]:
    """A JSON file with these lists of objects that have these keys."""
    try:
        said = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: the captions cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path}: it is no JSON ({error})") from None
    for name, keys in lists.items():
        found = said.get(name) if isinstance(said, dict) else None
        if not isinstance(found, list) or not all(isinstance(each, dict) and keys <= each.keys() for each in found):
            raise ValueError(f"{path}: it has no list {name!r} whose entries all have {sorted(keys)}")
    return said

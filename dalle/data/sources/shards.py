"""webdataset shards: tar files in which NAME.jpg stands beside NAME.txt or NAME.json.

Only the heads of the tars are read at first; a picture is then read from its place. Nothing is unpacked or copied.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dalle.data.sources.table import Source, make_source, refuse

if TYPE_CHECKING:
    from dalle.config.data import Columns

PICTURES = ("jpg", "jpeg", "png", "webp")


class Place(NamedTuple):
    """Where a file lies in a shard."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with open(self.shard, "rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


def read_shards(paths: Mapping[str, Iterable[str | Path]], columns: "Columns") -> Source:
    """The shards of each split. The caption is NAME.txt, or the entry ``columns.caption`` of NAME.json.

    Category and image_id are entries of NAME.json; without, image_id is NAME. Raises ValueError for a shard that is no
    plain tar, for samples that lack a picture or a caption, and for those that are there twice.
    """
    shards = [(split, Path(path)) for split, some in paths.items() for path in some]
    refuse("webdataset", {"missing shards": [str(path) for _, path in shards if not path.is_file()]})
    places: list[Place] = []
    rows: list[dict[str, Any]] = []
    known: dict[str, int] = {}
    twice: list[str] = []
    for split, path in shards:
        for name, parts in _samples(path):
            picture = next(parts[kind] for kind in PICTURES if kind in parts)
            said = _said(parts, columns, f"{path}: {name}")
            image_id = str(said[columns.image_id]) if columns.image_id else name
            twice += [f"{path.name}: {name}"] if image_id in known and not columns.image_id else []
            place = {"image_id": image_id, "split": split, "file": f"{path.name}: {name}"}
            place |= {"category": str(said[columns.category]) if columns.category else ""}
            place |= {"picture": known.setdefault(image_id, len(places))}
            places.append(picture)
            captions = said[columns.caption]
            rows += [place | {"caption": caption, "prompt_id": len(rows) + n} for n, caption in enumerate(captions)]
    refuse("webdataset", {"names of samples there twice (columns.image_id says which are one picture)": twice})
    return make_source("webdataset", rows, lambda picture: places[picture].read())


def _said(parts: Mapping[str, Place], columns: "Columns", name: str) -> dict[str, Any]:
    """What a sample's JSON says, the captions as a list. Raises ValueError that names the sample."""
    try:
        said = json.loads(parts["json"].read()) if "json" in parts else {}
        text = parts["txt"].read().decode("utf-8") if "txt" in parts else said[columns.caption]
        captions = text if isinstance(text, list) else [text]
        wanted = [each for each in (columns.category, columns.image_id) if each]
        if captions and all(isinstance(each, str) for each in captions):
            return {each: said[each] for each in wanted} | {columns.caption: captions}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{name}: its text cannot be read ({type(error).__name__}: {error})") from None
    raise ValueError(f"{name}: the caption {text!r} is no text; allowed are texts and lists of texts")


def _samples(path: Path) -> Iterator[tuple[str, dict[str, Place]]]:
    """Every sample's name and its files by their endings, in the order of the shard."""
    samples: dict[str, dict[str, Place]] = {}
    twice: list[str] = []
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if member.isfile():
                    folder, _, file = member.name.rpartition("/")
                    stem, _, ending = file.partition(".")  # webdataset's rule: the first dot of the file's name
                    parts = samples.setdefault(f"{folder}/{stem}".lstrip("/"), {})
                    twice += [member.name] if ending.lower() in parts else []
                    parts[ending.lower()] = Place(path, member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(f"{path}: it is no plain, uncompressed tar file ({error})") from None
    blind = [name for name, parts in samples.items() if not parts.keys() & set(PICTURES)]
    twice += [name for name, parts in samples.items() if len(parts.keys() & set(PICTURES)) > 1]
    mute = [name for name, parts in samples.items() if not parts.keys() & {"txt", "json"}]
    half = {"samples without a picture": blind, "samples without a caption": mute}
    refuse(str(path), half | {"files there twice, or samples of several pictures": twice})
    yield from samples.items()

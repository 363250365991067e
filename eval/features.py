"""Features of an image archive: extracted once a distinct picture and blur radius, and reused by every metric."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int64, UInt8
from tqdm import tqdm

from dalle.images import iter_archive
from dalle.provenance import atomic
from eval.blur import blur
from eval.extractors import Extractor
from eval.pixels import crop
from eval.protocols.protocol import BlurProtocol
from eval.store import FeatureStore, Seen, picture_key

Picture = UInt8[np.ndarray, "h w 3"]
BATCH = 16  # pictures: activations of so few stay in a core's cache (4 ms a picture on one thread; 7 in batches of 64)
ARRAYS = ("prompt_id", "candidate", "lossy", "features", "logits")
SEGMENT = 4096  # pictures between writes to the store: what a killed job has to do again, at most


@dataclass(frozen=True)
class FeatureSet:
    """What an extractor saw in the pictures of an archive, in the archive's order. Without a classifier: 0 classes."""

    prompt_id: Int64[np.ndarray, " n"]
    candidate: Int64[np.ndarray, " n"]
    lossy: Bool[np.ndarray, " n"]  # whether the picture came to us from a lossy file
    features: Float[np.ndarray, "n dim"]
    logits: Float[np.ndarray, "n classes"]
    extractor_digest: str

    def take(self, rows: Int64[np.ndarray, " some"]) -> "FeatureSet":
        """Some of the pictures."""
        arrays = {name: getattr(self, name)[rows] for name in ARRAYS}
        return FeatureSet(**arrays, extractor_digest=self.extractor_digest)


def write_features(
    archive: str | Path,
    out: str | Path,
    extractor: Extractor,
    blur_protocol: BlurProtocol,
    radius: float,
    store: str | Path,
) -> None:
    """Features and logits of an archive's pictures: cropped, blurred with ``radius``, then as the extractor's protocol.

    ``out`` is a safetensors file with the arrays of :class:`FeatureSet`. Pictures that the folder ``store`` knows are
    not looked at again. Raises ValueError for an unreadable picture and for a radius the blur's protocol refuses.
    """
    shelf = FeatureStore(store, f"{extractor.digest} {blur_protocol.label} {radius:g}" if radius else extractor.digest)
    tables, keys = [], []
    for rows, pictures in iter_archive(archive, BATCH):
        tables.append(rows[["prompt_id", "candidate", "lossy"]])
        keys += map(picture_key, pictures)
    seen = shelf.find(keys)
    unseen = _unseen(archive, keys, seen)
    with tqdm(total=len(set(keys) - seen.keys()), desc="extract", unit=" pictures", disable=None) as progress:
        for segment in _chunks(unseen, SEGMENT):
            new = {}
            for batch in _chunks(segment, BATCH):
                new |= _extract(dict(batch), extractor, blur_protocol, radius)
                progress.update(len(batch))
            shelf.add(new)
            seen |= new
    save_features(_in_order(pd.concat(tables), [seen[key] for key in keys], extractor.digest), out)


def _unseen(archive: str | Path, keys: list[bytes], known: dict[bytes, Seen]) -> Iterator[tuple[bytes, Picture]]:
    """Each distinct picture that is not known, once, with its key. Nothing behind the last of them is decoded again."""
    wanted = set(keys) - known.keys()
    pictures = (picture for _, batch in iter_archive(archive, BATCH) for picture in batch)
    numbered = zip(keys, pictures, strict=True)
    while wanted:
        key, picture = next(numbered)
        if key in wanted:
            wanted.remove(key)
            yield key, picture


def _chunks(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


def _extract(
    pictures: dict[bytes, Picture], extractor: Extractor, blur_protocol: BlurProtocol, radius: float
) -> dict[bytes, Seen]:
    """Always a full batch, filled up with the first picture: so a row has the same bits whoever its neighbours are."""
    ready = [blur(crop(picture, extractor.protocol.crop), radius, blur_protocol) for picture in pictures.values()]
    features, logits = extractor(ready + ready[:1] * (BATCH - len(ready)))
    logits = np.empty((len(features), 0), np.float32) if logits is None else logits
    return {key: (features[row], logits[row]) for row, key in enumerate(pictures)}


def _in_order(rows: pd.DataFrame, seen: list[Seen], extractor_digest: str) -> FeatureSet:
    features, logits = (np.stack(parts) for parts in zip(*seen, strict=True))
    keys = {"prompt_id": rows["prompt_id"].to_numpy(np.int64), "candidate": rows["candidate"].to_numpy(np.int64)}
    lossy = rows["lossy"].to_numpy(bool)
    return FeatureSet(**keys, lossy=lossy, features=features, logits=logits, extractor_digest=extractor_digest)


def save_features(found: FeatureSet, path: str | Path) -> None:
    """Write a safetensors file: a tensor an array, the extractor's digest in its metadata. Equal sets, equal bytes."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(getattr(found, name)) for name in ARRAYS}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"extractor_digest": found.extractor_digest})


def read_features(path: str | Path) -> FeatureSet:
    """The features that :func:`save_features` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return FeatureSet(**{name: file.get_tensor(name) for name in file.keys()}, **file.metadata())  # noqa: SIM118

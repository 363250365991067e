"""Features of an image archive: extracted once for every blur radius, stored, and reused by every metric."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8

from dalle.images import read_archive, to_float
from dalle.provenance import atomic
from eval.blur import blur
from eval.extractors import Extractor, load_extractor

BATCH = (
    16  # pictures: activations of so few stay in a core's cache (4.0 ms a picture on one thread; 7.1 in batches of 64)
)


@dataclass(frozen=True)
class FeatureSet:
    """What an extractor saw in the pictures of an archive, in the archive's order."""

    prompt_id: Int64[np.ndarray, " n"]
    candidate: Int64[np.ndarray, " n"]
    features: Float[np.ndarray, "n dim"]
    logits: Float[np.ndarray, "n classes"]
    extractor_digest: str


def write_features(
    archive: str | Path, out: str | Path, radius: float, extractor: str, batch_size: int = BATCH
) -> None:
    """Features and logits of an archive's pictures, blurred with ``radius`` pixels of a 256-pixel picture.

    ``out`` is a safetensors file with the arrays of :class:`FeatureSet`. Raises ValueError for an unknown extractor or
    an unreadable picture.
    """
    network = load_extractor(extractor)
    rows, pixels = read_archive(archive)
    keys = (rows["prompt_id"].to_numpy(np.int64), rows["candidate"].to_numpy(np.int64))
    save_features(FeatureSet(*keys, *_extract(pixels, radius, network, batch_size), network.digest), out)


def _extract(
    pixels: UInt8[np.ndarray, "n h w 3"], radius: float, network: Extractor, batch_size: int
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n classes"]]:
    starts = range(0, len(pixels), batch_size)
    batches = [network(blur(to_float(pixels[start : start + batch_size]), radius)) for start in starts]
    features, logits = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    return features, logits


def save_features(found: FeatureSet, path: str | Path) -> None:
    """Write a safetensors file: four tensors, and the extractor's digest in its metadata. Equal sets, equal bytes."""
    from safetensors.numpy import save_file

    names = ("prompt_id", "candidate", "features", "logits")
    tensors = {name: np.ascontiguousarray(getattr(found, name)) for name in names}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"extractor_digest": found.extractor_digest})


def read_features(path: str | Path) -> FeatureSet:
    """The features that :func:`save_features` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return FeatureSet(**{name: file.get_tensor(name) for name in file.keys()}, **file.metadata())  # noqa: SIM118

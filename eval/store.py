"""Features kept by what was seen: the picture's pixels on one side, network, preprocessing and blur on the other.

A store is a folder of segments, safetensors files that are never changed: jobs add segments side by side without a
lock, and a killed job loses one segment at most. Names of files, systems and experiments play no part, so a changed
picture is never taken for its former self, and a known one is never looked at again, whoever shows it.

A segment carries a digest of its content. One that is damaged is thrown away with a warning, and its pictures are
looked at again.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from dalle.provenance import atomic

ARRAYS = ("keys", "features", "logits")
LOG = logging.getLogger(__name__)
Seen = tuple[Float[np.ndarray, " dim"], Float[np.ndarray, " classes"]]  # features and logits of one picture


def picture_key(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """SHA-256 of a picture's size and pixels, 32 bytes."""
    return hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).digest()


class FeatureStore:
    """The features of one space: one network with its weights, one preprocessing, one blur.

    ``space`` says all of these; its digest is the folder's name.
    """

    def __init__(self, root: str | Path, space: str) -> None:
        self.folder = Path(root) / hashlib.sha256(space.encode()).hexdigest()[:16]

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Seen]:
        """What is known of these pictures."""
        wanted, found = set(keys), {}
        for path in sorted(self.folder.glob("[!.]*.safetensors")):  # hidden ones are being written, by other jobs
            segment = _read(path)
            here = {key: row for row, key in enumerate(map(bytes, segment["keys"])) if key in wanted}
            if here:
                rows = list(here.values())
                features, logits = (segment[name][rows] for name in ("features", "logits"))
                found |= zip(here, zip(features, logits, strict=True), strict=True)
        return found

    def add(self, seen: dict[bytes, Seen]) -> None:
        """Keep the features of some pictures, in a new segment."""
        from safetensors.numpy import save_file

        if not seen:
            return
        features, logits = (np.stack(parts) for parts in zip(*seen.values(), strict=True))
        keys = np.frombuffer(b"".join(seen), np.uint8).reshape(len(seen), -1)
        segment = {"keys": keys, "features": features, "logits": logits}
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:16]
        with atomic(self.folder / f"{name}.safetensors") as temporary:
            save_file(segment, temporary, metadata={"digest": _digest(segment)})


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a segment; none, and the file is gone, if it is not what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            segment = {name: file.get_tensor(name) for name in ARRAYS}
            if (file.metadata() or {}).get("digest") == _digest(segment):
                return segment
    except (OSError, SafetensorError):
        pass
    LOG.warning("%s is damaged and thrown away: its pictures are looked at again", path)
    path.unlink(missing_ok=True)
    return {name: np.empty(0) for name in ARRAYS}


def _digest(segment: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(f"{name} {segment[name].dtype} {segment[name].shape} ".encode())
        digest.update(np.ascontiguousarray(segment[name]))
    return digest.hexdigest()

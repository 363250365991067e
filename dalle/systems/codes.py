"""The training pictures as codes: what the prior learns from."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from dalle.images import iter_archive
from dalle.mapped import write_rows
from dalle.models.dvae import encode_pictures, ready_dvae
from dalle.provenance import atomic, code_digest, file_digest

BATCH = 256  # pictures in memory; a multiple of what the dVAE takes at once, so the codes do not depend on it
CODE = ("dalle/models", "dalle/images.py", "dalle/systems/codes.py")  # what decides which codes a picture has


def write_codes(dvae_folder: str | Path, archive: str | Path, out: str | Path, store: str | Path) -> None:
    """The codes of an archive's pictures, row by row: uint16 [n, grid, grid], fit to be mapped into memory.

    The folder ``store`` keeps them by content: the same pictures through the same dVAE by the same code are encoded
    once, whatever the experiment. Pictures are read a few at a time, and codes written as they come.
    """
    kept = Path(store, f"{codes_key(dvae_folder, archive)}.npy")
    if not kept.exists():
        _encode(dvae_folder, archive, kept)
    with atomic(out) as temporary:  # no link: Snakemake gives a job's output a new time, and other experiments' with it
        shutil.copyfile(kept, temporary)


def codes_key(dvae_folder: str | Path, archive: str | Path) -> str:
    """A digest of the archive's bytes, of the dVAE and of the code that encodes."""
    files = [Path(dvae_folder, "model.json"), Path(dvae_folder, "weights.safetensors"), archive]
    parts = [*map(file_digest, files), code_digest(*CODE)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _encode(dvae_folder: str | Path, archive: str | Path, out: Path) -> None:
    dvae, num = ready_dvae(dvae_folder), pq.read_metadata(archive).num_rows
    parts = (encode_pictures(dvae, np.stack(pictures)) for _, pictures in iter_archive(archive, BATCH))
    write_rows(out, num, parts, "codes")

"""The training pictures as codes: what the prior learns from."""

from pathlib import Path

import numpy as np

from dalle.images import read_archive
from dalle.models.dvae import encode_pictures, load_dvae
from dalle.provenance import atomic


def write_codes(dvae_folder: str | Path, archive: str | Path, out: str | Path) -> None:
    """The codes of an archive's pictures, row by row: uint16 [n, grid, grid]."""
    codes = encode_pictures(load_dvae(dvae_folder), read_archive(archive)[1])
    with atomic(out) as temporary:
        np.save(temporary, codes)

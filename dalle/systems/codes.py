"""Between pictures and codes: what the prior learns from, and what candidates look like."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16

from dalle.images import read_archive, to_float, to_uint8
from dalle.models.dvae import DiscreteVAE, load_dvae
from dalle.provenance import atomic

BATCH = 64


@torch.inference_mode()
def encode_pictures(dvae: DiscreteVAE, pixels: UInt8[np.ndarray, "n h w 3"]) -> UInt16[np.ndarray, "n grid grid"]:
    """The likeliest code of every cell of every picture."""
    starts = range(0, len(pixels), BATCH)
    grids = [dvae.encode(to_float(pixels[start : start + BATCH])).to(torch.uint16).numpy() for start in starts]
    return np.concatenate(grids)


@torch.inference_mode()
def decode_codes(dvae: DiscreteVAE, codes: UInt16[np.ndarray, "n grid grid"]) -> UInt8[np.ndarray, "n h w 3"]:
    """The picture of every grid of codes."""
    starts = range(0, len(codes), BATCH)
    grids = torch.from_numpy(codes.astype(np.int64))
    return np.concatenate([to_uint8(dvae.decode(grids[start : start + BATCH])) for start in starts])


def write_codes(dvae_folder: str | Path, archive: str | Path, out: str | Path) -> None:
    """The codes of an archive's pictures, row by row: uint16 [n, grid, grid]."""
    codes = encode_pictures(load_dvae(dvae_folder), read_archive(archive)[1])
    with atomic(out) as temporary:
        np.save(temporary, codes)

"""The one law of pixels: uint8, height × width × 3, outside; float in [0, 1], 3 × height × width, inside.

An image archive is a parquet file with a ``datasets`` Image column (PNG, lossless) and one row a picture.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dalle.provenance import atomic

ROW_COLUMNS = ["prompt_id", "candidate", "caption", "scene"]


def to_float(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """Pixels for a network: float32 in [0, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).contiguous().float() / 255


def to_uint8(images: Float[Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Pixels for people and files: clamped, rounded to the nearest of 256 levels, channels last."""
    levels = images.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def write_archive(path: str | Path, rows: pd.DataFrame, images: UInt8[np.ndarray, "n h w 3"]) -> None:
    """One parquet row a picture: prompt_id, candidate, caption, scene (JSON, '' if none), image.

    Raises ValueError if rows and pictures differ in number, a column is missing, or a (prompt_id, candidate) is
    there twice.
    """
    from datasets import Dataset, Features, Image, Value

    missing = [column for column in ROW_COLUMNS if column not in rows.columns]
    if missing or len(rows) != len(images):
        raise ValueError(
            f"image archive {path}: {len(images)} pictures for {len(rows)} rows, columns missing: {missing}"
        )
    if rows.duplicated(["prompt_id", "candidate"]).any():
        raise ValueError(f"image archive {path}: a (prompt_id, candidate) occurs twice")
    kinds = {"prompt_id": "int64", "candidate": "int64", "caption": "string", "scene": "string"}
    features = Features({name: Value(kind) for name, kind in kinds.items()} | {"image": Image()})
    columns = {name: rows[name].tolist() for name in ROW_COLUMNS} | {"image": [_png(image) for image in images]}
    with atomic(path) as temporary:
        Dataset.from_dict(columns, features=features).to_parquet(str(temporary))


def _png(image: UInt8[np.ndarray, "h w 3"]) -> dict[str, bytes | None]:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows of an archive without their pixels. Raises ValueError for a file that is no archive."""
    return _read(path, ROW_COLUMNS)


def read_archive(path: str | Path) -> tuple[pd.DataFrame, UInt8[np.ndarray, "n h w 3"]]:
    """Rows and pixels of an archive.

    Raises ValueError for a file that is no archive or has no row, and names the row whose picture cannot be read.
    """
    from io import BytesIO

    from PIL import Image

    table = _read(path, [*ROW_COLUMNS, "image"])
    pictures = []
    for number, cell in enumerate(table["image"]):
        try:
            pictures.append(np.asarray(Image.open(BytesIO(cell["bytes"])).convert("RGB")))
        except (OSError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, row {number}: the picture cannot be read ({error})") from None
    sizes = sorted({picture.shape for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(
            f"{path}: pictures of {len(sizes)} sizes {sizes}; allowed is one size, and at least one picture"
        )
    return table[ROW_COLUMNS], np.stack(pictures)


def _read(path: str | Path, columns: list[str]) -> pd.DataFrame:
    import pyarrow as pa

    try:
        return pd.read_parquet(path, columns=columns)
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is no image archive: needed is parquet with columns {columns} ({reason})") from None

"""The one law of pixels: uint8, height × width × 3, outside; float in [0, 1], 3 × height × width, inside.

An image archive is a parquet file with a ``datasets`` Image column (PNG, lossless) and one row a picture. Its pictures
may have several sizes.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dalle.provenance import atomic

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

ROW_COLUMNS = ["prompt_id", "candidate", "caption", "scene"]
ROW_GROUP = 100  # pictures that a parquet file holds together, so that readers and writers need not hold more
Picture = UInt8[np.ndarray, "_ _ 3"]
PictureSequence = Sequence[Picture] | UInt8[np.ndarray, "_ _ _ 3"]
Append = Callable[[pd.DataFrame, PictureSequence], None]


def to_float(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """Pixels for a network: float32 in [0, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).contiguous().float() / 255


def to_uint8(images: Float[Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Pixels for people and files: clamped, rounded to the nearest of 256 levels, channels last."""
    levels = images.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def psnr(pixels: UInt8[np.ndarray, "n h w 3"], truth: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """Peak signal-to-noise ratio of each picture, dB: 10 · log10(255² / mean squared difference); inf if equal."""
    error = ((pixels.astype(float) - truth.astype(float)) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)


def decode_picture(data: bytes, name: str) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
    """The pixels of a PNG, JPEG or WebP file, and whether it is lossy: a JPEG, or a WebP that is not VP8L.

    - EXIF's orientation is applied. Colour profiles and gamma are not: published evaluations ignore them too.
    - 16-bit grey is divided by 257 and rounded. Of 16-bit colour Pillow keeps the high byte: at most one level above.
    - CMYK (taken as stored inverted, as Adobe does), palette and grey become RGB by Pillow's formulas.
    - What is transparent is laid over white.

    Raises ValueError that names ``name`` for what is truncated, moving, of another format or of more than Pillow's
    limit of 89 million pixels, and for 16 bits with a transparent colour, which Pillow mistakes.
    """
    import warnings
    from io import BytesIO

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        _refuse_oddities(image, data)
        pixels = _rgb(_upright(image))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = "it is no PNG, JPEG or WebP" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(f"{name}: the picture cannot be read ({reason})") from None
    return pixels, image.format in ("JPEG", "MPO") or (image.format == "WEBP" and not _is_vp8l(data))


def _refuse_oddities(image: "Image", data: bytes) -> None:
    # MPO: a camera's JPEG with previews or a depth map behind the picture
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ValueError("it moves; allowed are still pictures")
    bits = data[24] if image.format == "PNG" else 8
    if bits == 16 and "transparency" in image.info:
        raise ValueError("16 bits with a transparent colour; allowed are 8 bits, or an alpha channel")


def _upright(image: "Image") -> "Image":
    """Turned and mirrored as EXIF's orientation says; as it is where EXIF cannot be read."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    image.load()  # some files have EXIF behind the pixels
    try:
        orientation = image.getexif().get(0x0112)
    except (SyntaxError, ValueError, struct.error):
        return image
    return image.transpose(turns[orientation]) if orientation in turns else image


def _rgb(image: "Image") -> UInt8[np.ndarray, "h w 3"]:
    from PIL import Image

    if image.mode == "I;16":
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))  # a copy: PyTorch takes no read-only arrays


def _is_vp8l(data: bytes) -> bool:
    """Whether a still WebP file keeps its pixels exactly: its first bitstream chunk is VP8L, not VP8."""
    start = 12  # behind RIFF, size, WEBP come chunks: four letters, size, content filled up to an even length
    while (kind := data[start : start + 4]) not in (b"VP8 ", b"VP8L", b""):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8 + size + size % 2
    return kind == b"VP8L"


def write_archive(path: str | Path, rows: pd.DataFrame, images: PictureSequence) -> None:
    """One parquet row a picture: prompt_id, candidate, caption, scene (JSON, '' if none), lossy, image.

    ``lossy`` says whether the picture came to us from a lossy file; rows without this column did not. Raises
    ValueError if rows and pictures differ in number, a column is missing, or a (prompt_id, candidate) is there twice.
    """
    with archive_writer(path) as append:
        append(rows, images)


@contextmanager
def archive_writer(path: str | Path) -> Iterator[Append]:
    """An archive to append rows and their pictures to, in as many calls as one likes. See :func:`write_archive`.

    The file is there once the block has succeeded.
    """
    import pyarrow.parquet as pq
    from datasets import Features, Image, Value

    kinds = {"prompt_id": "int64", "candidate": "int64", "caption": "string", "scene": "string", "lossy": "bool"}
    schema = Features({name: Value(kind) for name, kind in kinds.items()} | {"image": Image()}).arrow_schema
    known: set[tuple[int, int]] = set()

    def append(rows: pd.DataFrame, images: PictureSequence) -> None:
        _check_rows(path, rows, len(images))
        keys = set(zip(rows["prompt_id"], rows["candidate"], strict=True))
        if len(keys) < len(rows) or keys & known:
            raise ValueError(f"image archive {path}: a (prompt_id, candidate) occurs twice")
        known.update(keys)
        for start in range(0, len(rows), ROW_GROUP):
            part = slice(start, start + ROW_GROUP)
            writer.write_table(_table(rows.iloc[part], images[part], schema))

    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        yield append


def _check_rows(path: str | Path, rows: pd.DataFrame, num_images: int) -> None:
    missing = [column for column in ROW_COLUMNS if column not in rows.columns]
    if missing or len(rows) != num_images:
        raise ValueError(
            f"image archive {path}: {num_images} pictures for {len(rows)} rows, columns missing: {missing}"
        )


def _table(rows: pd.DataFrame, images: PictureSequence, schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    columns = {name: rows[name].tolist() for name in ROW_COLUMNS}
    lossy = rows["lossy"].tolist() if "lossy" in rows else [False] * len(rows)
    return pa.table(columns | {"lossy": lossy, "image": [_png(image) for image in images]}, schema=schema)


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
    """Rows and pixels of an archive whose pictures have one size.

    Raises ValueError for a file that is no archive or has no row, and names the row whose picture cannot be read.
    """
    table = _read(path, [*ROW_COLUMNS, "image"])
    pictures = [_decode(cell, f"{path}, row {number}") for number, cell in enumerate(table["image"])]
    sizes = sorted({picture.shape for picture in pictures})
    if len(sizes) != 1:
        raise ValueError(
            f"{path}: pictures of {len(sizes)} sizes {sizes}; allowed is one size, and at least one picture"
        )
    return table[ROW_COLUMNS], np.stack(pictures)


def iter_archive(path: str | Path, batch: int, workers: int = 1) -> Iterator[tuple[pd.DataFrame, list[Picture]]]:
    """Rows and pictures of an archive, at most ``batch`` at a time, in its order; never more is held in memory.

    The rows have the column ``lossy`` too. ``workers`` are the threads that decode: Pillow lets others run meanwhile.
    Raises ValueError as :func:`read_archive`, but sizes may differ.
    """
    import pyarrow.parquet as pq

    start = 0
    _columns(path, [*ROW_COLUMNS, "image"])
    with pq.ParquetFile(path) as file, ThreadPoolExecutor(workers) as pool:
        for part in file.iter_batches(batch):
            table = part.to_pandas()
            lossy = table.get("lossy", False)  # archives of before this column hold pictures that never were lossy
            names = [f"{path}, row {number}" for number in range(start, start + len(table))]
            yield table[ROW_COLUMNS].assign(lossy=lossy), list(pool.map(_decode, table["image"], names))
            start += len(table)


def _decode(cell: object, name: str) -> Picture:
    """The picture of a cell of an archive's column ``image``."""
    if not isinstance(cell, dict) or not isinstance(cell.get("bytes"), bytes):
        raise ValueError(f"{name}: the picture cannot be read (it has no bytes)")
    return decode_picture(cell["bytes"], name)[0]


def _read(path: str | Path, columns: list[str]) -> pd.DataFrame:
    _columns(path, columns)
    return pd.read_parquet(path, columns=columns)


def _columns(path: str | Path, needed: list[str]) -> list[str]:
    """The columns of a parquet file. Raises ValueError for another file and if one of ``needed`` is not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path).names
        reason = f"this one has {found}"
    except pa.ArrowInvalid as error:
        found, reason = [], str(error).splitlines()[0]
    if not set(needed) <= set(found):
        raise ValueError(f"{path} is no image archive: needed is parquet with columns {needed} ({reason})")
    return found

"""Pictures for the page: only those that are shown are decoded, and they carry no more pixels than are seen."""

from base64 import b64encode
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pandas as pd
from PIL import Image

from dalle.images import Picture, decode_picture
from eval.report.parts import Sheet, Tile

LARGEST = 192  # pixels: larger pictures are made so small and lossy, smaller ones are kept exactly
WIDEST = 1200  # pixels of a sheet
Key = tuple[int, int]  # prompt and candidate


def read_pictures(archive: str | Path, prompts: Iterable[int]) -> dict[Key, Picture]:
    """The pictures of some prompts in an image archive. Raises ValueError, naming the row, for one that is broken."""
    asked = [("prompt_id", "in", [int(prompt) for prompt in prompts])]
    rows = pd.read_parquet(archive, columns=["prompt_id", "candidate", "image"], filters=asked)
    return {
        (prompt, candidate): decode_picture(image["bytes"], f"{archive}, prompt {prompt}, candidate {candidate}")[0]
        for prompt, candidate, image in rows.itertuples(index=False, name=None)
    }


def tile(picture: Picture, alt: str, **how) -> Tile:
    """A picture for the page; ``how`` are further fields of the tile."""
    is_small = max(picture.shape) <= LARGEST
    image = Image.fromarray(picture)
    if not is_small:
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return Tile(_uri(image, is_small), alt, is_small=is_small, **how)


def sheet(path: str | Path, alt: str, caption: str) -> Sheet:
    """A PNG of many pictures or panels, as wide as the page can show it."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((WIDEST, 4 * WIDEST), Image.Resampling.LANCZOS)
    return Sheet(_uri(image, lossless=False), alt, caption)


def _uri(image: Image.Image, lossless: bool) -> str:
    data = BytesIO()
    image.save(data, format="WEBP", lossless=lossless, quality=85, method=4)
    return f"data:image/webp;base64,{b64encode(data.getvalue()).decode()}"

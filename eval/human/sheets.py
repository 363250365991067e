"""CSV files for people: whole or not there, and harmless in a spreadsheet."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dalle.provenance import atomic

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet takes for the beginning of a formula, or strips


def disarmed(text: str) -> str:
    """``text``, with an apostrophe before it if a spreadsheet would run it."""
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text


def write_sheet(rows: pd.DataFrame | list[Mapping], path: str | Path, columns: list[str] | None = None) -> None:
    """The rows as CSV, texts disarmed. Equal rows give equal bytes."""
    frame = pd.DataFrame(rows, columns=columns)
    frame.columns = [str(column) for column in frame.columns]
    texts = frame.map(lambda cell: disarmed(cell) if isinstance(cell, str) else cell)
    with atomic(path) as temporary:
        texts.to_csv(temporary, index=False, lineterminator="\n")

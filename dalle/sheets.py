"""CSV files for people: whole or not there, and harmless in a spreadsheet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dalle.provenance import atomic

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")  # begin a formula, or are stripped before one
# Where the list separator is a semicolon, a spreadsheet cuts cells there, whatever the file's quotes say.
INNER = re.compile(r"(?<=;)(?=\s*[=+\-@＝＋－＠])")


def disarmed(text: str) -> str:
    """``text``, with an apostrophe before what a spreadsheet would run."""
    is_armed = text.startswith(FORMULA) or text.lstrip().startswith(FORMULA)
    return INNER.sub("'", f"'{text}" if is_armed else text)


def write_sheet(rows: "pd.DataFrame | list[Mapping]", path: str | Path, columns: list[str] | None = None) -> None:
    """The rows as CSV, texts disarmed. Equal rows give equal bytes."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=columns)
    frame.columns = [str(column) for column in frame.columns]
    texts = frame.map(lambda cell: disarmed(cell) if isinstance(cell, str) else cell)
    with atomic(path) as temporary:
        texts.to_csv(temporary, index=False, lineterminator="\n")

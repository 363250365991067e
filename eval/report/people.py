"""What people said, or that their votes are awaited."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from eval.report.drawings import read_svg
from eval.report.parts import Drawing, Folded, Part, Prose

WAITING = "Waiting for votes."


def people(verdicts: str | Path, text: str | Path, figure: str | Path) -> Iterator[Part]:
    """The verdict in plain words; the figure once there are votes."""
    table = pd.read_parquet(verdicts)
    words = _paragraphs(Path(text).read_text(encoding="utf-8"))
    if table.empty:
        yield Prose(WAITING, True)
        yield Folded("What is waited for", [Prose(paragraph) for paragraph in words])
        return
    rates = "; ".join(
        f"{row.first} against {row.second}, {row.question}: {100 * row.rate:.0f} %"
        for row in table[table["raters"] == table["raters"].iloc[-1]].itertuples()
    )
    yield Drawing(
        read_svg(figure),
        f"Share of votes for the first system. {rates}.",
        "Left: the share of votes for the first system with its 95 % interval over prompts. Right: the pairs by how "
        "their votes were divided.",
    )
    yield from (Prose(paragraph) for paragraph in words)


def _paragraphs(text: str) -> list[str]:
    """The text without its line breaks: the page has its own."""
    return [" ".join(block.split()) for block in text.split("\n\n") if block.strip()]

"""All comparisons of an experiment, from the files of votes to tables, a figure and plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dalle.config.human import Panel
from dalle.provenance import atomic
from dalle.sheets import write_sheet
from eval.human.comparison import (
    HISTOGRAM_COLUMNS,
    VERDICT_COLUMNS,
    Comparison,
    compare,
    ranking,
    stacked,
)
from eval.human.figure import plot_verdicts
from eval.human.quality import RATER_COLUMNS
from eval.human.study import Study
from eval.human.votes import REJECTED_COLUMNS
from eval.human.words import in_words


def write_report(
    studies: Mapping[str, str | Path],
    votes: Mapping[str, Sequence[str | Path]],
    places: Mapping[str, str],
    panel: Panel,
    seed: int,
    tables: str | Path,
    figure: str | Path,
    text: str | Path,
) -> None:
    """Writes ``tables``/human*.parquet and .csv, the figure and the text.

    By the names of the comparisons: ``studies`` are their folders, ``votes`` their files of votes, ``places`` where
    such files belong. Without votes the tables are there and empty, and the text says "waiting for votes".
    """
    found = [compare(name, Study.read(folder), votes[name], panel, seed) for name, folder in studies.items()]
    written = _tables(found, panel, seed)
    for name, table in written.items():
        _write(table, Path(tables) / f"{name}.parquet")
    plot_verdicts(written["human"], written["human_histogram"], figure)
    with atomic(text) as temporary:
        temporary.write_text(in_words(found, written["human_ranking"], places), encoding="utf-8")


def _tables(found: Sequence[Comparison], panel: Panel, seed: int) -> dict[str, pd.DataFrame]:
    raters = [one.raters.assign(comparison=one.name) for one in found]
    rejected = [one.votes.rejected.assign(comparison=one.name) for one in found]
    return {
        "human": stacked([one.verdicts for one in found], VERDICT_COLUMNS),
        "human_histogram": stacked([one.histograms for one in found], HISTOGRAM_COLUMNS),
        "human_ranking": ranking(found, panel.replicates, seed),
        "human_raters": stacked(raters, ["comparison", *RATER_COLUMNS]),
        "human_rejected": stacked(rejected, ["comparison", *REJECTED_COLUMNS]),
    }


def _write(table: pd.DataFrame, path: Path) -> None:
    """As eval.tables.write_table, but people wrote some of this: the CSV is disarmed."""
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)
    write_sheet(table, path.with_suffix(".csv"))

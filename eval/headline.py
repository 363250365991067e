"""The headline: what ``make run`` prints when it is done. Plain text, no colours, at most 100 characters wide."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from dalle.provenance import atomic
from eval.tables import NO_OVERLAP, first_protocols

WIDTH = 100
ORDER = ("original", "real", "dvae", "dvae_start", "dalle1", "shuffled")
PLACES = {
    "report": "report.html",
    "figures": "figures/*.png",
    "tables": "tables/*.csv, *.parquet",
    "human tasks": "human/*/public/index.html, human.txt",
}


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    return table


class Column(NamedTuple):
    """What a column of numbers shows of its metric's row: value, low, high, or half the width of the interval."""

    heading: str
    metric: str
    text: str
    unit: float = 1


FID, IS = (
    Column("FID ↓", "fid", "{value:.1f} ± {half:.1f}"),
    Column("IS ↑", "inception_score", "{value:.2f} ± {half:.2f}"),
)
PSNR = Column("PSNR dB ↑", "psnr", "{value:.1f}")
GRADED = (
    Column("right % ↑", "grounded", "{value:.1f} [{low:.1f} – {high:.1f}]", 100),
    Column("any of N %", "grounded_any", "{value:.1f}", 100),
)
AGREEING = (
    Column("CLIP cosine ↑", "clip_cos", "{value:.3f} ± {half:.3f}"),
    Column("R-precision % ↑", "r_precision", "{value:.1f} [{low:.1f} – {high:.1f}]", 100),
)


def _columns(rows: pd.DataFrame) -> list[Column]:
    """What is in the pictures where it is graded; of photographs, which nobody grades, what a model says of it."""
    return [FID, IS, *(GRADED if "grounded" in set(rows["metric"]) else AGREEING), PSNR]


def _cells(cells: pd.DataFrame, columns: Sequence[Column]) -> list[str]:
    """The numbers of one system at one N; empty where the metric does not apply."""

    def show(column: Column) -> str:
        if column.metric not in cells.index:
            return ""
        found = cells.loc[column.metric, ["value", "low", "high"]] * column.unit
        return column.text.format(**found, half=(found["high"] - found["low"]) / 2)

    return [show(column) for column in columns]


def _suite_table(rows: pd.DataFrame) -> Table:
    """Every N of every system; of the shuffled pictures the largest N only, for chance has no N."""
    columns = _columns(rows)
    table = _table("system", "N", *(column.heading for column in columns))
    most = rows.groupby("system")["n_candidates"].transform("max")
    by_chance = (rows["system"] == "shuffled") & (rows["n_candidates"] < most)
    rows = rows[~by_chance]
    for system in sorted(rows["system"].unique(), key=lambda name: (*ORDER, name).index(name)):
        for number, cells in rows[rows["system"] == system].groupby("n_candidates"):
            table.add_row(system, str(number), *_cells(cells.set_index("metric"), columns))
    return table


def _reranker_table(report: dict[str, dict[str, float]]) -> Table:
    """One row an aspect: the picture chooses between two captions, the caption between two pictures."""
    table = _table("what is wrong in the other", "of two captions, %", "of two pictures, %", "n")
    aspects = [name.removeprefix("picture ") for name in report if name != "retrieval"]
    for aspect in dict.fromkeys(aspects):
        results = [report.get(aspect), report.get(f"picture {aspect}")]
        shares = [f"{100 * result['accuracy']:.1f}" if result else "" for result in results]
        table.add_row(aspect, *shares, f"{next(result['n'] for result in results if result):,}")
    return table


def _data_lines(report: dict, overlap: pd.DataFrame) -> list[str]:
    """How many pictures there are, and what of the suites occurs in training: contents, if known, else captions."""
    sizes = ", ".join(f"{name} {num:,}" for name, num in report["pictures"].items())
    suites = report["overlap"]
    said = "contents" if all("contents" in shares for shares in suites.values()) else "captions"
    of_captions = (
        "captions whose content also occurs in training" if said == "contents" else "captions also in training"
    )
    twins = overlap.groupby("suite")["overlap"].mean()
    return [
        f"pictures: {sizes}",
        f"{of_captions}: {_shares({suite: shares[said] for suite, shares in suites.items()})}",
        f"reference pictures with a near-duplicate in training: {_shares(twins.to_dict())}",
    ]


def _shares(of_suite: dict[str, float]) -> str:
    return ", ".join(f"{suite} {100 * share:.1f} %" for suite, share in of_suite.items())


def _footnotes(rows: pd.DataFrame) -> Iterator[str]:
    """Rules and doubts: which protocols, what the intervals are, every warning once."""
    yield f"Protocols: {', '.join(sorted(rows['protocol'].unique()))}"
    yield "± and [ ]: 95 % intervals over prompts. Few pictures bias FID upwards: compare rows of one suite only."
    yield from (f"Warning: {warning}" for warning in sorted(set(rows["warning"]) - {""}))


def write_headline(
    metrics: str | Path,
    clip_report: str | Path,
    data_report: str | Path,
    overlap: str | Path,
    out: str | Path,
    protocols: Sequence[str],
) -> None:
    """The results at a glance: data, one table a suite, the reranker's accuracies, and where everything lies.

    Unblurred, all reference pictures, of several protocols of a metric the first in the order of ``protocols``; the
    numbers stand in full in ``metrics``. ``out`` lies in the results folder of the experiment, and the
    places named at the end are those beside it.
    """
    table = pd.read_parquet(metrics)
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(f"dalle-bench: experiment {table['experiment'].iloc[0]}")
    report = json.loads(Path(data_report).read_text(encoding="utf-8"))
    console.print(*_data_lines(report, pd.read_parquet(overlap)), sep="\n")
    shown = first_protocols(table[(table["blur"] == 0) & (table["reference"] != NO_OVERLAP)], protocols)
    for suite, rows in shown.groupby("suite"):
        console.print(f"\nSuite {suite}: {rows['n'].max():,} captions, no blur", _suite_table(rows), sep="\n")
    console.print(*_footnotes(shown), "", sep="\n")
    reranker = json.loads(Path(clip_report).read_text(encoding="utf-8"))
    if reranker.keys() - {"retrieval"}:
        console.print("How often the reranker chooses rightly between two, one of them with a mistake (chance 50 %)")
        console.print(_reranker_table(reranker))
    if found := reranker.get("retrieval"):
        console.print(f"The right picture among {found['n']:,}: {100 * found['accuracy']:.1f} %\n")
    for name, place in PLACES.items():
        console.print(f"{name:<12} {Path(out).parent / place}", soft_wrap=True)
    console.print(f"{'MLflow':<12} mlflow ui")
    lines = (line.rstrip() for line in console.file.getvalue().splitlines())
    with atomic(out) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

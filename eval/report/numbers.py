"""The tables of metrics: a row for each system and N, a column for each metric and protocol."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from eval.headline import ORDER
from eval.registry import METRICS
from eval.report.parts import Cell, Folded, Heading, Part, Prose, Table
from eval.style import look_of
from eval.tables import NO_OVERLAP


class Shown(NamedTuple):
    """How a metric is written: its name, how many times its value, and how many decimals of that."""

    name: str
    times: float
    decimals: int


MAIN = {
    "fid": Shown("FID", 1, 1),
    "inception_score": Shown("Inception Score", 1, 2),
    "grounded": Shown("right, %", 100, 1),
    "grounded_any": Shown("any of N right, %", 100, 1),
    "psnr": Shown("PSNR, dB", 1, 1),
}
FURTHER = {
    "fid_infinity": Shown("FID∞", 1, 1),
    "kid": Shown("KID × 1,000", 1000, 1),
    "cmmd": Shown("CMMD", 1, 2),
    "precision": Shown("precision, %", 100, 1),
    "recall": Shown("recall, %", 100, 1),
    "density": Shown("density", 1, 2),
    "coverage": Shown("coverage, %", 100, 1),
    "clip_cos": Shown("CLIP cosine", 1, 3),
    "clipscore": Shown("CLIPScore", 1, 2),
    "clip_logit": Shown("CLIP logit", 1, 2),
    "clip_x100": Shown("CLIP × 100", 1, 1),
    "r_precision": Shown("R-precision, %", 100, 1),
}
AGREEING = {name: FURTHER[name] for name in ("clip_cos", "r_precision")}
ARROWS = {"lower": "↓", "higher": "↑"}


def sharp(metrics: pd.DataFrame) -> pd.DataFrame:
    """The rows without blur and with all reference pictures; of wrong captions the largest N only: chance has no N."""
    rows = metrics[(metrics["blur"] == 0) & (metrics["reference"] != NO_OVERLAP)]
    most = rows.groupby(["system", "suite"])["n_candidates"].transform("max")
    return rows[(rows["system"] != "shuffled") | (rows["n_candidates"] == most)]


def headline(metrics: pd.DataFrame) -> Iterator[Part]:
    """One table a suite, further metrics folded, and every warning once.

    Of photographs, which nobody can grade, the first table has what a model says of their agreement with the captions.
    """
    rows = sharp(metrics)
    is_graded = "grounded" in set(rows["metric"])
    if not is_graded:
        yield Prose(
            "There is no share of right pictures: only drawn scenes come with the facts that a grader checks.", True
        )
    main = MAIN if is_graded else MAIN | AGREEING
    further = {name: shown for name, shown in FURTHER.items() if name not in main}
    for suite, of_suite in rows.groupby("suite"):
        yield metric_table(f"Suite {suite}: {of_suite['n'].max():,} captions, no blur", of_suite, main)
    folded = [metric_table(f"Suite {suite}", of_suite, further) for suite, of_suite in rows.groupby("suite")]
    yield Folded("Further metrics", [table for table in folded if len(table.headings) > 2])
    if warnings := sorted(set(rows["warning"]) - {""}):
        yield Folded("Warnings", [Prose(warning) for warning in warnings])


def metric_table(caption: str, rows: pd.DataFrame, names: dict[str, Shown]) -> Table:
    """The metrics of ``names`` that are there. Below each value stands its 95 % interval over prompts."""
    rows = rows[rows["metric"].isin(list(names))]
    found = set(rows[["metric", "protocol"]].itertuples(index=False, name=None))
    columns = sorted(found, key=lambda column: (list(names).index(column[0]), column[1]))
    headings = [Heading("system", is_number=False), Heading("N"), *(_heading(*column, names) for column in columns)]
    cells = rows.set_index(["metric", "protocol"]).sort_index()
    lines = [
        [_system(system), Cell(str(n), value=n), *(_cell(cells.loc[key], system, n, names[key[0]]) for key in columns)]
        for system, n in _answers(rows)
    ]
    return Table(caption, headings, lines)


def _heading(metric: str, protocol: str, names: dict[str, Shown]) -> Heading:
    return Heading(f"{names[metric].name} {ARROWS[METRICS[metric].better]}", protocol)


def _answers(rows: pd.DataFrame) -> list[tuple[str, int]]:
    """Every system with each of its N: yardsticks above ours, chance below, strangers last."""
    known = set(rows[["system", "n_candidates"]].itertuples(index=False, name=None))
    return sorted(known, key=lambda answer: ((*ORDER, answer[0]).index(answer[0]), *answer))


def _system(system: str) -> Cell:
    name = look_of(system).name
    return Cell(name, system if name != system else "")


def _cell(rows: pd.DataFrame, system: str, n: int, shown: Shown) -> Cell:
    """Empty where the metric does not apply to the system."""
    found = rows[(rows["system"] == system) & (rows["n_candidates"] == n)]
    if found.empty:
        return Cell()
    value, low, high = (float(found[name].iloc[0]) * shown.times for name in ("value", "low", "high"))
    interval = "" if pd.isna(low) else f"{low:,.{shown.decimals}f} – {high:,.{shown.decimals}f}"
    return Cell(f"{value:,.{shown.decimals}f}", interval, value)


def curves_in_words(metrics: pd.DataFrame, x: str) -> str:
    """How FID runs along the column ``x`` in each suite, for those who do not see the figure.

    Against blur: every system at its largest N. Against N: ours without blur.
    """
    rows = metrics[(metrics["metric"] == "fid") & (metrics["reference"] != NO_OVERLAP)]
    rows = rows[(rows["protocol"] == rows["protocol"].min()) & (rows["system"] != "shuffled")]
    if x == "blur":
        rows = rows[rows["n_candidates"] == rows.groupby("system")["n_candidates"].transform("max")]
    else:
        rows = rows[(rows["blur"] == 0) & (rows["system"] == "dalle1")]
    return "; ".join(_in_words(*of, curve.sort_values(x), x) for of, curve in rows.groupby(["suite", "system"]))


def _in_words(suite: str, system: str, curve: pd.DataFrame, x: str) -> str:
    first, last = (f"{row['value']:.0f} at {row[x]:g}" for row in curve.iloc[[0, -1]].to_dict("records"))
    return f"{suite}, {look_of(system).name}: FID {first}, {last}"

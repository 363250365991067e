"""Three figures: the paper's figure 9, quality against the number of candidates, and the training curves.

A system has one colour, one marker and one name in all of them. The files hold no date: equal tables, equal bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from dalle.provenance import atomic
from eval.tables import NO_OVERLAP, first_protocols


class Look(NamedTuple):
    """How a system is drawn, in every figure."""

    name: str
    colour: str
    marker: str


# Okabe and Ito's palette, which every kind of colour vision can tell apart; markers tell apart what is printed grey.
LOOKS = {
    "dalle1": Look("DALL·E 1 (ours)", "#0072B2", "o"),
    "real": Look("other real pictures", "#000000", "s"),
    "dvae": Look("real pictures through the dVAE", "#009E73", "D"),
    "dvae_start": Look("real pictures through the untrained dVAE", "#E69F00", "v"),
    "shuffled": Look("ours under wrong captions", "#CC79A7", "X"),
}
OURS = "dalle1"
YARDSTICKS = ("real", "dvae", "dvae_start")
TITLES = {"fid": "FID ↓", "inception_score": "Inception Score ↑", "grounded": "right pictures ↑"}
WITHOUT_OVERLAP = "without overlapping reference pictures"
SECOND = "#D55E00"  # of a second scale in a panel
LEAST = {"fid": 0, "inception_score": 1, "grounded": 0}  # the smallest value a metric can take: where its axis begins
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # losses of one stage, in the order of its log

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.ymargin": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
}


def _line(axes: Axes, rows: pd.DataFrame, x: str, system: str, suffix: str = "", **how) -> None:
    """A system's curve in its band: the 95 % interval over prompts. Dashed: without overlapping reference pictures."""
    look, rows = LOOKS.get(system, Look(system, "#666666", "^")), rows.sort_values(x)
    without = rows[rows["reference"] == NO_OVERLAP]
    rows = rows[rows["reference"] != NO_OVERLAP]
    how = {"color": look.colour, "marker": look.marker, "label": look.name + suffix, **how}
    axes.plot(rows[x], rows["value"], **how)
    axes.fill_between(rows[x], rows["low"], rows["high"], color=look.colour, alpha=0.13, lw=0)
    if len(without):
        axes.plot(without[x], without["value"], color=look.colour, ls=(0, (4, 2)), lw=1.1, label=WITHOUT_OVERLAP)


def _level(axes: Axes, rows: pd.DataFrame, system: str) -> None:
    look = LOOKS[system]
    for value in rows["value"]:
        axes.axhline(value, color=look.colour, lw=1.4, label=look.name)


def _panels(table: pd.DataFrame, names: list[str], size: tuple[float, float]) -> tuple[Figure, NDArray]:
    """A figure with a row of panels for each suite and a column for each metric, each panel ``size`` inches."""
    num_suites = table["suite"].nunique()
    figure = Figure(figsize=(size[0] * len(names), size[1] * num_suites + 0.9), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure, figure.subplots(num_suites, len(names), sharex=True, squeeze=False)


def _titles(axes: Axes, title: str, rows: pd.DataFrame) -> None:
    axes.set_title(title, loc="left")
    axes.set_title(", ".join(sorted(rows["protocol"].unique())), loc="right", color="#707070", size=9, weight="normal")


def _each(panels: NDArray, table: pd.DataFrame, names: list[str]) -> Iterator[tuple[Axes, str, pd.DataFrame]]:
    """Each panel, labelled, with its metric and its suite's rows of the table."""
    for row, (suite, of_suite) in zip(panels, table.groupby("suite"), strict=True):
        row[0].set_ylabel(f"{suite}\n{of_suite['n'].max():,} captions", fontsize=11)
        for axes, name in zip(row, names, strict=True):
            _titles(axes, TITLES[name], of_suite[of_suite["metric"] == name])
            yield axes, name, of_suite


def _legend(figure: Figure) -> None:
    named = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes]
    lines = {name: line for panel in named for line, name in panel}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3)


def _save(figure: Figure, out: str | Path) -> None:
    with atomic(out) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _from_least(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    """The axis begins at the smallest value the metric can take; a panel without numbers keeps matplotlib's."""
    top = rows[["value", "high"]].max().max()
    if top > LEAST[name]:
        axes.set_ylim(LEAST[name], 1.06 * top)


def _against_blur(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    for system in sorted(set(rows["system"]) - {OURS, "shuffled"}, key=[*YARDSTICKS, *rows["system"]].index):
        its = rows[rows["system"] == system]
        _line(axes, its[its["n_candidates"] == its["n_candidates"].max()], "blur", system)
    ours = rows[rows["system"] == OURS]
    most = ours["n_candidates"].max()
    first = ours[(ours["n_candidates"] == 1) & (ours["reference"] != NO_OVERLAP)]
    _line(axes, first, "blur", OURS, suffix=", N = 1", linestyle=":", markerfacecolor="w")
    _line(axes, ours[ours["n_candidates"] == most], "blur", OURS, suffix=f", best of {most}")
    axes.xaxis.set_major_locator(FixedLocator(sorted(rows["blur"].unique())))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("blur of both sides, pixels of a 256-pixel picture")
    _from_least(axes, rows, name)


def _against_candidates(axes: Axes, rows: pd.DataFrame) -> None:
    """Two scales, as in the paper: FID on the left, the Inception Score on the right."""
    ours = rows[(rows["system"] == OURS) & (rows["blur"] == 0)]
    for name, scale, colour in (("fid", axes, LOOKS[OURS].colour), ("inception_score", axes.twinx(), SECOND)):
        _line(scale, ours[ours["metric"] == name], "n_candidates", OURS, color=colour, label="_nolegend_")
        scale.collections[-1].set_color(colour)
        scale.set_ylabel(TITLES[name], color=colour)
        scale.tick_params(axis="y", colors=colour)
        scale.grid(scale is axes)
    _candidates_axis(axes, sorted(ours["n_candidates"].unique()))
    axes.set_xlabel("N, candidates a caption")


def plot_figure9(metrics: str | Path, out: str | Path, protocols: Sequence[str]) -> None:
    """The paper's figure 9, one row of panels a suite: FID and IS against blur (a, b), both against N (c).

    Ours at N = 1 and at the largest N, and in the same panels the yardsticks: blur hides faults of everybody, so a
    falling curve means nothing until the curve of real pictures is seen beside it. Bands are 95 % intervals over
    prompts, dashed lines leave out reference pictures that overlap with training.
    """
    table = first_protocols(pd.read_parquet(metrics), protocols)
    suites = list(table.groupby("suite"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(14.4, 3.2 * len(suites) + 1.1), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
        panels = figure.subplots(len(suites), 3, squeeze=False)
        for row, (suite, of_suite) in zip(panels, suites, strict=True):
            for axes, letter, name in zip(row, "ab", ("fid", "inception_score"), strict=False):
                rows = of_suite[of_suite["metric"] == name]
                _against_blur(axes, rows, name)
                _titles(axes, f"({letter}) {TITLES[name]}", rows)
            _against_candidates(row[2], of_suite)
            row[2].set_title("(c) both, without blur", loc="left")
            row[0].set_ylabel(f"{suite}\n{of_suite['n'].max():,} captions", fontsize=11)
        _legend(figure)
        _save(figure, out)


def _candidates_axis(axes: Axes, numbers: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _grounded_extras(axes: Axes, rows: pd.DataFrame) -> None:
    ours, grounded = rows["system"] == OURS, rows["metric"] == "grounded"
    attainable = rows[ours & (rows["metric"] == "grounded_any")]
    _line(axes, attainable, "n_candidates", OURS, suffix=", any of N right", linestyle="--", markerfacecolor="w")
    # Their FID is that of ours: the pictures are the same. Only here do wrong captions show.
    _line(axes, rows[grounded & (rows["system"] == "shuffled")], "n_candidates", "shuffled")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set_ylim(0, 1.03)


def plot_candidates(metrics: str | Path, out: str | Path, protocols: Sequence[str]) -> None:
    """FID, Inception Score and share of right pictures against N, best of N by the reranker (paper, figure 9c).

    A metric that nobody could measure has no panel: photographs are not graded.

    Unblurred. Yardsticks have no N and lie level. Bands are 95 % intervals; the dashed line is the share of captions
    with any right picture among their first N: what a perfect reranker would reach.
    """
    table = first_protocols(pd.read_parquet(metrics), protocols)
    sharp = table[(table["blur"] == 0) & (table["reference"] != NO_OVERLAP)]
    names = [name for name in TITLES if name in set(sharp["metric"])]
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(sharp, names, size=(3.9, 3.2))
        for axes, name, of_suite in _each(panels, sharp, names):
            rows = of_suite[of_suite["metric"] == name]
            for system in YARDSTICKS:
                _level(axes, rows[rows["system"] == system], system)
            _line(axes, rows[rows["system"] == OURS], "n_candidates", OURS, suffix=", best of N")
            _candidates_axis(axes, sorted(rows["n_candidates"].unique()))
            _from_least(axes, rows, name)
            if name == "grounded":
                _grounded_extras(axes, of_suite)
        for axes in panels[-1]:
            axes.set_xlabel("N, candidates a caption")
        _legend(figure)
        _save(figure, out)


def _losses(axes: Axes, log: pd.DataFrame) -> None:
    names = [name for name in log.columns if name == "loss" or name.endswith("_nats")]
    for name, colour in zip(names, CURVES, strict=False):
        curve = log[["step", name]].dropna()
        smooth = curve[name].rolling(max(1, len(curve) // 20), min_periods=1, center=True).mean()
        axes.plot(curve["step"], curve[name], color=colour, alpha=0.25, lw=0.8)
        axes.plot(curve["step"], smooth, color=colour, label=name.replace("_nats", ", nats"))
    axes.set_xlim(left=0)
    if len(names) > 1:
        axes.legend(loc="best")


def plot_training(logs: Mapping[str, str | Path], out: str | Path) -> None:
    """The losses of each stage against its updates, one panel a stage, from its ``log.csv``.

    Drawn are ``loss`` and its parts, called ``…_nats``: as logged in pale, their running mean over a twentieth of the
    log in full colour.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * len(logs), 3.2), layout="constrained")
        panels = figure.subplots(1, len(logs), squeeze=False)[0]
        for axes, (stage, path) in zip(panels, logs.items(), strict=True):
            _losses(axes, pd.read_csv(path))
            axes.set_title({"dvae": "dVAE", "prior": "prior", "clip": "CLIP"}.get(stage, stage))
            axes.set_xlabel("updates")
        panels[0].set_ylabel("loss")
        _save(figure, out)

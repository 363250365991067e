"""Three figures: the paper's figure 9, quality against the number of candidates, and the training curves.

Each is a PNG and an SVG of the house style.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from eval.style import CURVES, SECOND, SOFT, End, Look, house_style, label_ends, look_of, save_figure
from eval.tables import NO_OVERLAP, first_protocols

OURS = "dalle1"
YARDSTICKS = ("real", "dvae", "dvae_start")
TITLES = {"fid": "FID ↓", "inception_score": "Inception Score ↑", "grounded": "right pictures ↑"}
WITHOUT_OVERLAP = "without overlapping reference pictures"
LEAST = {"fid": 0, "inception_score": 1, "grounded": 0}  # the smallest value a metric can take: where its axis begins
WEIGHTED_KL = (
    "The dVAE's loss is nats + β·KL/(3f²), f² pixels to a cell. β grows from 0 over the first tenth of the updates and "
    "lifts the loss with it."
)
STAGES = {"dvae": "dVAE", "prior": "prior", "clip": "CLIP"}


def _line(axes: Axes, rows: pd.DataFrame, x: str, system: str, suffix: str = "", **how) -> list[End]:
    """A system's curve in its band, the 95 % interval over prompts, and where it ends; nothing where nothing is known.

    Dashed: without overlapping reference pictures.
    """
    look, rows = look_of(system), rows.sort_values(x)
    without = rows[rows["reference"] == NO_OVERLAP]
    rows = rows[rows["reference"] != NO_OVERLAP]
    how = {"color": look.colour, "marker": look.marker, "label": look.name + suffix, **how}
    axes.plot(rows[x], rows["value"], **how)
    axes.fill_between(rows[x], rows["low"], rows["high"], color=how["color"], alpha=0.13, lw=0)
    if len(without):
        axes.plot(without[x], without["value"], color=how["color"], ls=(0, (4, 2)), lw=1.1, label=WITHOUT_OVERLAP)
    return [End(row[x], row["value"], look.short + suffix, look) for _, row in rows.tail(1).iterrows()]


def _level(axes: Axes, rows: pd.DataFrame, system: str, right: float) -> list[End]:
    look = look_of(system)
    for value in rows["value"]:
        axes.axhline(value, color=look.colour, lw=1.4, label=look.name)
    return [End(right, value, look.short, look) for value in rows["value"]]


def _panels(num_rows: int, num_columns: int, size: tuple[float, float]) -> tuple[Figure, NDArray]:
    """A figure of panels, each ``size`` inches, with room for names at their right edges and a note at the foot."""
    figure = Figure(figsize=(size[0] * num_columns, size[1] * num_rows + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure, figure.subplots(num_rows, num_columns, squeeze=False)


def _titles(axes: Axes, title: str, rows: pd.DataFrame) -> None:
    axes.set_title(title, loc="left")
    axes.set_title(", ".join(sorted(rows["protocol"].unique())), loc="right", color=SOFT, size=9, weight="normal")


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(text, x=0.01, ha="left", size=9, color=SOFT)


def _name_suite(axes: Axes, suite: str, rows: pd.DataFrame) -> None:
    axes.set_ylabel(f"{suite}\n{rows['n'].max():,} captions", fontsize=11)


def _from_least(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    """The axis begins at the smallest value the metric can take; a panel without numbers keeps matplotlib's."""
    top = rows[["value", "high"]].max().max()
    if top > LEAST[name]:
        axes.set_ylim(LEAST[name], 1.06 * top)


def _against_blur(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    ends = []
    for system in sorted(set(rows["system"]) - {OURS, "shuffled"}, key=[*YARDSTICKS, *rows["system"]].index):
        its = rows[rows["system"] == system]
        ends += _line(axes, its[its["n_candidates"] == its["n_candidates"].max()], "blur", system)
    ours = rows[rows["system"] == OURS]
    most = ours["n_candidates"].max()
    first = ours[(ours["n_candidates"] == 1) & (ours["reference"] != NO_OVERLAP)]
    ends += _line(axes, first, "blur", OURS, suffix=", N = 1", linestyle=":", markerfacecolor="w")
    ends += _line(axes, ours[ours["n_candidates"] == most], "blur", OURS, suffix=f", best of {most}")
    axes.xaxis.set_major_locator(FixedLocator(sorted(rows["blur"].unique())))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("blur of both sides, pixels of a 256-pixel picture")
    _from_least(axes, rows, name)
    label_ends(axes, ends)


def _against_candidates(axes: Axes, rows: pd.DataFrame) -> None:
    """Two scales, as in the paper: FID on the left, the Inception Score on the right."""
    ours = rows[(rows["system"] == OURS) & (rows["blur"] == 0)]
    for name, scale, look in (("fid", axes, look_of(OURS)), ("inception_score", axes.twinx(), SECOND)):
        _line(scale, ours[ours["metric"] == name], "n_candidates", OURS, color=look.colour, label="_nolegend_")
        scale.set_ylabel(TITLES[name], color=look.ink)
        scale.tick_params(axis="y", colors=look.ink)
        scale.grid(scale is axes)
    _candidates_axis(axes, sorted(ours["n_candidates"].unique()))
    axes.set_xlabel("N, candidates a caption")
    axes.set_title("(c) both, without blur", loc="left")


def plot_figure9(metrics: str | Path, out: str | Path, protocols: Sequence[str]) -> None:
    """The paper's figure 9, one row of panels a suite: FID and IS against blur (a, b), both against N (c).

    Ours at N = 1 and at the largest N, and in the same panels the yardsticks: blur hides faults of everybody, so a
    falling curve means nothing until the curve of real pictures is seen beside it. Bands are 95 % intervals over
    prompts, dashed lines leave out reference pictures that overlap with training.
    """
    table = first_protocols(pd.read_parquet(metrics), protocols)
    suites = list(table.groupby("suite"))
    with house_style():
        figure, panels = _panels(len(suites), 3, size=(5.2, 3.3))
        for row, (suite, of_suite) in zip(panels, suites, strict=True):
            for axes, letter, name in zip(row, "ab", ("fid", "inception_score"), strict=False):
                rows = of_suite[of_suite["metric"] == name]
                _against_blur(axes, rows, name)
                _titles(axes, f"({letter}) {TITLES[name]}", rows)
            _against_candidates(row[2], of_suite)
            _name_suite(row[0], suite, of_suite)
        _note(figure, f"Bands: 95 % intervals over prompts. Dashed: {WITHOUT_OVERLAP}.")
        save_figure(figure, out)


def _candidates_axis(axes: Axes, numbers: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _grounded_extras(axes: Axes, rows: pd.DataFrame) -> list[End]:
    ours, grounded = rows["system"] == OURS, rows["metric"] == "grounded"
    attainable = rows[ours & (rows["metric"] == "grounded_any")]
    ends = _line(axes, attainable, "n_candidates", OURS, suffix=", any of N right", linestyle="--", markerfacecolor="w")
    # Their FID is that of ours: the pictures are the same. Only here do wrong captions show.
    ends += _line(axes, rows[grounded & (rows["system"] == "shuffled")], "n_candidates", "shuffled")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set_ylim(0, 1.03)
    return ends


def _metric_against_candidates(axes: Axes, of_suite: pd.DataFrame, name: str) -> None:
    rows = of_suite[of_suite["metric"] == name]
    ends = _line(axes, rows[rows["system"] == OURS], "n_candidates", OURS, suffix=", best of N")
    right = rows["n_candidates"].max()
    for system in YARDSTICKS:
        ends += _level(axes, rows[rows["system"] == system], system, right)
    _candidates_axis(axes, sorted(rows["n_candidates"].unique()))
    _from_least(axes, rows, name)
    if name == "grounded":
        ends += _grounded_extras(axes, of_suite)
    label_ends(axes, ends)
    _titles(axes, TITLES[name], rows)
    axes.set_xlabel("N, candidates a caption")


def plot_candidates(metrics: str | Path, out: str | Path, protocols: Sequence[str]) -> None:
    """FID, Inception Score and share of right pictures against N, best of N by the reranker (paper, figure 9c).

    Unblurred. Yardsticks have no N and lie level. Bands are 95 % intervals; the dashed line is the share of captions
    with any right picture among their first N: what a perfect reranker would reach. A metric that nothing was judged by
    has no panel: of photographs nobody knows which are right.
    """
    table = first_protocols(pd.read_parquet(metrics), protocols)
    sharp = table[(table["blur"] == 0) & (table["reference"] != NO_OVERLAP)]
    names = [name for name in TITLES if name in set(sharp["metric"])]
    suites = list(sharp.groupby("suite"))
    with house_style():
        figure, panels = _panels(len(suites), len(names), size=(5.0, 3.3))
        for row, (suite, of_suite) in zip(panels, suites, strict=True):
            _name_suite(row[0], suite, of_suite)
            for axes, name in zip(row, names, strict=True):
                _metric_against_candidates(axes, of_suite, name)
        _note(figure, "Bands: 95 % intervals over prompts. Level lines have no N.")
        save_figure(figure, out)


def _curves(stage: str, log: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """The panels of a stage: a title and columns of its log. What is no loss in nats a position stands apart."""
    parts = [name for name in log.columns if name.endswith("_nats")]
    panels = [(STAGES.get(stage, stage), ["loss", *parts])]
    if "kl" in log.columns:
        panels.append((f"{STAGES.get(stage, stage)}: KL, nats a cell", ["kl"]))
    return panels


def _draw_curves(axes: Axes, log: pd.DataFrame, names: Sequence[str]) -> None:
    ends = []
    for name, (colour, ink) in zip(names, CURVES, strict=False):
        curve = log[["step", name]].dropna()
        smooth = curve[name].rolling(max(1, len(curve) // 20), min_periods=1, center=True).mean()
        axes.plot(curve["step"], curve[name], color=colour, alpha=0.25, lw=0.8)
        label = name.replace("_nats", ", nats")
        axes.plot(curve["step"], smooth, color=colour, label=label)
        ends += [End(step, value, label, Look(name, label, colour, ink, "")) for step, value in _last(curve, smooth)]
    if (log[list(names)].min() > 0).all() and log[names[0]].max() > 10 * log[names[0]].min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(left=0)
    axes.set_xlabel("updates")
    if len(names) > 1:
        label_ends(axes, ends)


def _last(curve: pd.DataFrame, smooth: pd.Series) -> list[tuple[float, float]]:
    return list(zip(curve["step"].tail(1), smooth.tail(1), strict=True))


def plot_training(logs: Mapping[str, str | Path], out: str | Path) -> None:
    """The losses of each stage against its updates, from its ``log.csv``.

    Drawn are ``loss`` and its parts, called ``…_nats``; the dVAE's ``kl`` has a panel of its own, because the loss has
    it with a weight that grows. As logged in pale, their running mean over a twentieth of the log in full colour; on a
    logarithmic scale where a loss falls to less than a tenth.
    """
    read = {stage: pd.read_csv(path) for stage, path in logs.items()}
    drawn = [(stage, *panel) for stage, log in read.items() for panel in _curves(stage, log)]
    with house_style():
        figure, panels = _panels(1, len(drawn), size=(4.2, 3.2))
        for axes, (stage, title, names) in zip(panels[0], drawn, strict=True):
            _draw_curves(axes, read[stage], names)
            axes.set_title(title, loc="left")
        panels[0][0].set_ylabel("loss")
        if any(names == ["kl"] for _, _, names in drawn):
            _note(figure, WEIGHTED_KL)
        save_figure(figure, out)

"""The figure of all comparisons: win rates with their intervals, and how the votes on each pair were divided."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.human.comparison import ALL, KEPT
from eval.style import SOFT, house_style, look_of, save_figure

COLOUR = look_of("dalle1").colour
FOR, TIED, AGAINST = (0.0, 0.447, 0.698), (0.93, 0.93, 0.93), (0.902, 0.624, 0.0)  # blue, grey, orange


def plot_verdicts(verdicts: pd.DataFrame, histograms: pd.DataFrame, out: str | Path) -> None:
    """One line for each comparison and question. Without votes the figure says that they are waited for.

    Left: the share of votes for the first system, a tie counting half, with its 95 % interval over prompts; hollow with
    everybody's votes, filled without the raters left out. Right: the pairs by how their votes were divided.
    """
    with house_style():
        lines = list(verdicts.groupby(["comparison", "question"], sort=False).groups)
        figure = Figure(figsize=(11, 1.6 + 0.75 * max(1, len(lines))), layout="constrained")
        if lines:
            rates, divided = figure.subplots(1, 2, sharey=True)
            _rates(rates, verdicts, lines)
            _divided(divided, histograms, lines)
        else:
            figure.text(0.5, 0.5, "waiting for votes", ha="center", va="center", size=14, color=SOFT)
        save_figure(figure, out)


def _rates(axes: Axes, verdicts: pd.DataFrame, lines: list[tuple[str, str]]) -> None:
    for raters, height, fill in ((ALL, 0.15, "white"), (KEPT, -0.15, COLOUR)):
        rows = verdicts[verdicts["raters"] == raters]
        y = [lines.index(line) + height for line in zip(rows["comparison"], rows["question"], strict=True)]
        spread = [rows["rate"] - rows["rate_low"], rows["rate_high"] - rows["rate"]]
        name = "all raters" if raters == ALL else "without raters left out"
        axes.errorbar(rows["rate"], y, xerr=spread, fmt="o", color=COLOUR, mfc=fill, capsize=3, label=name)
    firsts = verdicts.groupby(["comparison", "question"], sort=False)[["first", "second"]].first()
    names = [f"{question}\n{first}\nagainst {second}" for (_, question), first, second in firsts.itertuples()]
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.axvline(0.5, color=SOFT, lw=1, ls="--")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set_xlabel("votes for the first system, 95 % interval")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _divided(axes: Axes, histograms: pd.DataFrame, lines: list[tuple[str, str]]) -> None:
    """Stacked bars, from unanimous for the first system to unanimous for the second."""
    shown = histograms[histograms["raters"] == KEPT]
    for number, (comparison, question) in enumerate(lines):
        rows = shown[(shown["comparison"] == comparison) & (shown["question"] == question)]
        lead = (rows["first"] - rows["second"]) / rows[["first", "second", "tie"]].sum(axis=1)
        bars = rows["pairs"].groupby(lead.astype(float)).sum().sort_index(ascending=False)
        start = 0.0
        for share, pairs in (bars / bars.sum()).items():
            axes.barh(number, pairs, left=start, color=_colour(share), edgecolor="white", lw=0.8, height=0.55)
            start += pairs
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set_xlabel("pairs: all votes for the first (blue) … all for the second (orange)")
    axes.tick_params(left=False)


def _colour(lead: float) -> tuple[float, ...]:
    """Blue for votes for the first, orange for the second, lighter the more they were divided."""
    end = FOR if lead > 0 else AGAINST
    return tuple(grey + abs(lead) * (full - grey) for grey, full in zip(TIED, end, strict=True))

"""The house style of figures: how each system looks, letters and lines, and how a figure becomes files.

A system has one colour, one marker and one name in all figures. Lines are named at their ends, where the eye is. A
figure is written as PNG and as SVG, and neither holds a date: equal tables, equal bytes.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from dalle.provenance import atomic

INK, SOFT, GRID, PAPER = "#1a1a1a", "#6b6b6b", "#e4e4e4", "#ffffff"  # the report's page knows these by their names


class Look(NamedTuple):
    """How a system is drawn: ``name`` in full and ``short``, its line's colour, that of words about it, its marker."""

    name: str
    short: str
    colour: str
    ink: str
    marker: str


# Okabe and Ito's palette, which every kind of colour vision can tell apart; markers tell apart what is printed grey.
# Words are darker where the colour is too light to read on white.
LOOKS = {
    "dalle1": Look("DALL·E 1 (ours)", "ours", "#0072B2", "#0072B2", "o"),
    "original": Look("the captions' own photographs", "originals", "#56B4E9", "#1F6B96", "P"),
    "real": Look("other real pictures", "real", INK, INK, "s"),
    "dvae": Look("real pictures through the dVAE", "dVAE", "#009E73", "#00785A", "D"),
    "dvae_start": Look("real pictures through the untrained dVAE", "untrained dVAE", "#E69F00", "#8F6200", "v"),
    "shuffled": Look("ours under wrong captions", "wrong captions", "#CC79A7", "#A0487D", "X"),
}
SECOND = Look("of a second scale in a panel", "", "#D55E00", "#B84E00", "o")
# Losses of one stage, in the order of its log: colour of the line, and of words about it.
CURVES = (("#0072B2", "#0072B2"), ("#D55E00", "#B84E00"), ("#009E73", "#00785A"), ("#CC79A7", "#A0487D"))

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.ymargin": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "dalle-bench",  # or the names within the file would be drawn by lot
    "svg.fonttype": "path",  # the same letters on every machine
}
LABEL_GAP = 0.075  # least distance of two labels at line ends, share of the panel's height


class End(NamedTuple):
    """The end of a line, in the panel's data, and what is written beside it."""

    x: float
    y: float
    text: str
    look: Look


def house_style() -> AbstractContextManager[None]:
    """Within it figures are drawn, and saved, in the house style."""
    return matplotlib.rc_context(STYLE)


def look_of(system: str) -> Look:
    """A system's look; strangers are grey and go by their own names."""
    return LOOKS.get(system, Look(system, system, "#666666", "#666666", "^"))


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Writes the names of lines at the panel's right edge, none over another. The panel's limits must be final."""
    to_panel = axes.transData + axes.transAxes.inverted()
    heights = [to_panel.transform((end.x, end.y))[1] for end in ends]
    for end, height in zip(ends, spread(heights, LABEL_GAP), strict=True):
        axes.annotate(
            end.text,
            (end.x, end.y),
            (1.035, height),
            textcoords="axes fraction",
            annotation_clip=False,
            va="center",
            size=9,
            color=end.look.ink,
            # To the middle of its left edge, or it would run through the names above or below.
            arrowprops={"arrowstyle": "-", "color": end.look.colour, "lw": 0.8, "shrinkB": 4, "relpos": (0, 0.5)},
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights as near to the wanted ones as can be (least squares) that keep their order and are ``gap`` apart."""
    wanted = np.asarray(heights, dtype=float)
    order, steps = np.argsort(wanted, kind="stable"), gap * np.arange(len(wanted))
    found = np.empty_like(wanted)
    found[order] = isotonic_regression(wanted[order] - steps).x + steps if len(wanted) else []
    return found.tolist()


def save_figure(figure: Figure, out: str | Path) -> None:
    """Writes ``out`` (PNG) and the same figure as SVG under the same name, both whole or not there."""
    with atomic(out) as png, atomic(Path(out).with_suffix(".svg")) as svg:
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})

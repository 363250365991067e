"""``python -m workflow.benchmarks.masks docs/pictures/masks.png``: the attention masks of the prior, as a picture.

Above, the masks of whole layers on a grid of 6 with a kernel of 5 and a prefix of 5: position by position, who sees
whom. Below, on the paper's grid of 32 with its kernel of 11, what a cell sees in the middle and at the left edge.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from dalle.models.attention import Kind, Wrap, cell_mask, context_mask

PREFIX, GRID, KERNEL = 5, 6, 5  # of the masks above
PAPER_GRID, PAPER_KERNEL = 32, 11
MIDDLE, EDGE = (11, 16), (25, 1)  # row and column of the cells below
COLOURS = ListedColormap(["#f4f4f2", "#b9cbe4", "#3b6fb5", "#d1495b"])  # unseen, seen text, seen cell, itself
LAYERS: list[tuple[str, Kind, Wrap]] = [
    ("row", "row", "raster"),
    ("column", "column", "raster"),
    ("convolutional, raster wrap", "conv", "raster"),
    ("convolutional, clamp", "conv", "clamp"),
]


def layer_picture(kind: Kind, wrap: Wrap) -> Int[np.ndarray, "context context"]:
    """A number for every pair of positions: 0 unseen, 1 text that is seen, 2 a cell that is seen, 3 itself."""
    mask = context_mask(kind, PREFIX, GRID, KERNEL, wrap).numpy()
    shown = np.where(np.arange(len(mask)) < PREFIX, 1, 2) * mask
    np.fill_diagonal(shown, 3)
    return shown


def cells_picture(kind: Kind, wrap: Wrap) -> Int[np.ndarray, "grid grid"]:
    """The same numbers for the cells that two cells of the paper's grid see."""
    mask, shown = cell_mask(kind, PAPER_GRID, PAPER_KERNEL, wrap).numpy(), np.zeros(PAPER_GRID**2, int)
    places = [row * PAPER_GRID + column for row, column in (MIDDLE, EDGE)]
    for place in places:
        shown[mask[place]] = 2
    shown[places] = 3
    return shown.reshape(PAPER_GRID, PAPER_GRID)


def draw_masks() -> Figure:
    """All kinds of layers side by side."""
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    for axes, (name, kind, wrap) in zip(figure.subplots(2, len(LAYERS)).T, LAYERS, strict=True):
        _panel(axes[0], layer_picture(kind, wrap), name, (PREFIX, GRID))
        _panel(axes[1], cells_picture(kind, wrap), "", (0, 1))
        axes[0].set_xlabel("position that is seen")
    first = figure.axes[0]
    first.set_ylabel("position that sees")
    figure.axes[len(LAYERS)].set_ylabel(f"cells of a grid of {PAPER_GRID}")
    return figure


def _panel(axes: Axes, shown: Int[np.ndarray, "n n"], title: str, lines: tuple[int, int]) -> None:
    axes.imshow(shown, cmap=COLOURS, vmin=0, vmax=3, interpolation="nearest")
    start, step = lines
    edges = np.arange(start, len(shown) + 1, step) - 0.5
    axes.hlines(edges, -0.5, len(shown) - 0.5, color="white", linewidth=0.6)
    axes.vlines(edges, -0.5, len(shown) - 0.5, color="white", linewidth=0.6)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser("python -m workflow.benchmarks.masks", description=(__doc__ or "").split(": ")[1])
    parser.add_argument("out", type=Path, metavar="PNG")
    draw_masks().savefig(parser.parse_args(arguments).out, dpi=110)


if __name__ == "__main__":
    main()

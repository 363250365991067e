"""The prior's attention without what its masks hide: a quarter to a third of the dense work, the same values (§B.1).

A cell sees the whole prefix, and of the cells only near ones: in a row or convolutional layer those of its own and some
rows above, in a column layer those of its column. So the cells are laid out in lines (rows, or columns), some lines
together are a window of queries, and a window's keys are the prefix and the lines that its mask reaches:

    keys        prefix   rows: 0  1  2  3  4  5  6  7
    queries 0 1   all          ▨  ▨                        a row layer, two rows a window;
            2 3   all             ▨  ▨  ▨                  ▨: masked, cell by cell
            4 5   all                   ▨  ▨  ▨
            6 7   all                         ▨  ▨  ▨

Each window goes through torch's fused attention with its part of the mask, and gradients follow by themselves. On the
paper's grid a row layer computes 26 % of what dense attention does, a column layer 24 %, the convolutional one 35 %.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dalle.models.attention import Kind, Wrap, cell_mask

QUERIES = 64  # of a window, about: fewer are too little work for a fused kernel, more have too much of it masked


@dataclass(frozen=True)
class Window:
    """Lines of queries, the lines of keys that any of them sees, and who sees whom, the prefix included."""

    queries: slice
    keys: slice
    mask: Bool[Tensor, "queries prefix_and_keys"]


@lru_cache(maxsize=16)
def windows(
    kind: Kind, prefix: int, grid: int, conv_kernel: int, conv_wrap: Wrap, device: torch.device
) -> tuple[Window, ...]:
    """All windows of a layer, in the order of their lines."""
    with torch.inference_mode(False), torch.device("cpu"):  # whoever asks first, training may keep the masks
        order = torch.arange(grid * grid).view(grid, grid)
        order = (order.T if kind == "column" else order).flatten()
        mask = cell_mask(kind, grid, conv_kernel, conv_wrap)[order][:, order]
        return tuple(_window(mask, first, prefix, grid, device) for first in range(0, grid, max(1, QUERIES // grid)))


def _window(mask: Bool[Tensor, "cells cells"], first: int, prefix: int, grid: int, device: torch.device) -> Window:
    """The window whose first line of queries is ``first``."""
    queries = slice(first, min(first + max(1, QUERIES // grid), grid))
    rows = mask[queries.start * grid : queries.stop * grid]
    keys = slice(int(rows.any(0).nonzero()[0]) // grid, queries.stop)
    seen = rows[:, keys.start * grid : keys.stop * grid]
    return Window(queries, keys, F.pad(seen, (prefix, 0), value=True).to(device))


def attend(
    kind: Kind,
    queries: Float[Tensor, "batch heads n dim"],
    keys: Float[Tensor, "batch heads n dim"],
    values: Float[Tensor, "batch heads n dim"],
    prefix: int,
    grid: int,
    conv_kernel: int,
    conv_wrap: Wrap = "raster",
) -> Float[Tensor, "batch heads n dim"]:
    """What ``scaled_dot_product_attention`` gives with the layer's ``context_mask``, up to rounding.

    n counts the prefix and any number of cells, in raster order.
    """
    q, k, v = (each[:, :, :prefix] for each in (queries, keys, values))
    of_prefix = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    lines_q, lines_k, lines_v = (_lines(each[:, :, prefix:], kind, grid) for each in (queries, keys, values))
    attended = [
        F.scaled_dot_product_attention(
            torch.cat(lines_q[window.queries], dim=2),
            torch.cat([k, *lines_k[window.keys]], dim=2),
            torch.cat([v, *lines_v[window.keys]], dim=2),
            attn_mask=window.mask,
        )
        for window in windows(kind, prefix, grid, conv_kernel, conv_wrap, queries.device)
    ]
    cells = torch.cat(attended, dim=2)
    if kind == "column":
        cells = _transposed(cells, grid)
    return torch.cat([of_prefix, cells[:, :, : queries.shape[2] - prefix]], dim=2)


def _lines(
    cells: Float[Tensor, "batch heads n dim"], kind: Kind, grid: int
) -> tuple[Float[Tensor, "batch heads grid dim"], ...]:
    """The rows of the grid, or its columns; cells that are not there yet are zeros, which no cell before them sees.

    Split and not indexed: the gradients of slices would be added up in one tensor of all cells for each.
    """
    whole = F.pad(cells, (0, 0, 0, grid * grid - cells.shape[2]))
    return (_transposed(whole, grid) if kind == "column" else whole).split(grid, dim=2)


def _transposed(cells: Float[Tensor, "batch heads cells dim"], grid: int) -> Float[Tensor, "batch heads cells dim"]:
    return cells.unflatten(2, (grid, grid)).transpose(2, 3).flatten(2, 3)

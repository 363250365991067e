"""Who may look at whom: the attention masks of the prior (paper §2.2, appendix B.1, figure 11).

The context is a prefix (start of text, the text positions, start of image) followed by the cells of the code grid in
raster order. The prefix is causal; every cell sees the whole prefix and, of the cells up to itself, what the kind of
its layer says. One table of booleans a layer drives training and decoding alike.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

Kind = Literal["row", "column", "conv"]
Wrap = Literal["raster", "clamp"]


def layer_kinds(depth: int) -> list[Kind]:
    """The kind of each layer: row, column, row, row, row, column, … and convolutional in the last.

    Layer i, counted from 1, is a column layer if (i − 2) mod 4 = 0 and a row layer otherwise (appendix B.1).
    """
    return ["column" if (i - 2) % 4 == 0 else "row" for i in range(1, depth)] + ["conv"]


def cell_mask(kind: Kind, grid: int, conv_kernel: int, conv_wrap: Wrap = "raster") -> Bool[Tensor, "cells cells"]:
    """True where a cell (first axis) sees another (second axis), itself included.

    ``row``: the previous ``grid`` + 1 cells in raster order, back to the neighbour above, across row ends.
    ``column``: the cells above in the same column.
    ``conv``: a square of ``conv_kernel`` cells a side around the cell, what comes later left out. Like the row it is
    laid out in raster order, so at the edge it wraps into the neighbouring row; with ``conv_wrap`` "clamp" what lies
    beyond the edge is left out too.
    """
    cells = torch.arange(grid * grid)
    back: Int64[Tensor, "cells cells"] = cells[:, None] - cells[None, :]
    if kind == "row":
        seen = back <= grid
    elif kind == "column":
        seen = back % grid == 0
    elif conv_wrap == "raster":
        reach = torch.arange(conv_kernel) - conv_kernel // 2
        seen = torch.isin(back, grid * reach[:, None] + reach[None, :])
    else:
        up, left = (there[:, None] - there[None, :] for there in (cells // grid, cells % grid))
        near, far = (conv_kernel - 1) // 2, conv_kernel // 2  # an even kernel reaches further to the right
        seen = (up <= near) & (left <= near) & (left >= -far)
    return seen & (back >= 0)


def context_mask(
    kind: Kind, prefix: int, grid: int, conv_kernel: int, conv_wrap: Wrap = "raster"
) -> Bool[Tensor, "context context"]:
    """The mask of a whole layer, ``prefix`` positions and then all cells."""
    context = prefix + grid * grid
    mask = torch.ones(context, context, dtype=torch.bool).tril()
    mask[prefix:, prefix:] = cell_mask(kind, grid, conv_kernel, conv_wrap)
    return mask


def seen_cells(seen: Bool[Tensor, " cells"]) -> slice | Int64[Tensor, " seen"]:
    """The cells that one row of a mask lets a decoding step read, as an index for a cache.

    Evenly spaced cells (every row and column layer, and a convolution as wide as the grid) come as a slice, which
    copies nothing.
    """
    cells = seen.nonzero().flatten()
    first, last = int(cells[0]), int(cells[-1])
    stride = int(cells[1]) - first if len(cells) > 1 else 1
    evenly = torch.arange(first, last + 1, stride)
    return slice(first, last + 1, stride) if torch.equal(cells, evenly) else cells

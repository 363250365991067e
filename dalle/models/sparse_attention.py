"""The prior's attention without what its masks hide: about a third of the dense work, the same values (§B.1).

A cell sees the whole prefix, and of the cells only near ones: in a row or convolutional layer those of its own and some
rows above, in a column layer those of its column. So the cells are laid out in lines (rows, or columns), some lines
together are a window of queries, and a window's keys are the prefix and the lines that its mask reaches:

    keys        prefix   rows: 0  1  2  3  4  5  6  7
    queries 0 1   all          ▨  ▨                        a row layer, two rows a window;
            2 3   all             ▨  ▨  ▨                  ▨: masked, cell by cell
            4 5   all                   ▨  ▨  ▨
            6 7   all                         ▨  ▨  ▨

Each window goes through torch's attention with its part of the mask, and gradients follow by themselves. On the paper's
grid a row layer computes 30 % of what dense attention does, a column layer 28 %, the convolutional one 38 %.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dalle.models.attention import Kind, Wrap, cell_mask
from dalle.models.precision import without_autocast

QUERIES = 128  # of a window, about: with more of them more is masked, with fewer more copies of the prefix are kept


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
        return tuple(_window(mask, first, prefix, grid, device) for first in range(0, grid, _lines(grid)))


@lru_cache(maxsize=4)
def _causal(num: int, device: torch.device) -> Bool[Tensor, "num num"]:
    """Everybody sees itself and those before."""
    with torch.inference_mode(False):
        return torch.ones(num, num, dtype=torch.bool, device=device).tril()


def _lines(grid: int) -> int:
    """Of a window."""
    return max(1, QUERIES // grid)


def _window(mask: Bool[Tensor, "cells cells"], first: int, prefix: int, grid: int, device: torch.device) -> Window:
    """The window whose first line of queries is ``first``."""
    queries = slice(first, min(first + _lines(grid), grid))
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

    n counts the prefix and the first cells, one or more, in raster order.
    """
    sizes = [prefix, queries.shape[2] - prefix]  # split, not sliced: the gradient of each slice would be a whole
    split_up = (each.split(sizes, dim=2) for each in (queries, keys, values))
    (prefix_q, cells_q), (prefix_k, cells_k), (prefix_v, cells_v) = split_up
    of_prefix = _attention(prefix_q, prefix_k, prefix_v, _causal(prefix, queries.device))
    q_windows = _by_lines(cells_q, kind, grid).split(_lines(grid) * grid, dim=2)
    k_lines, v_lines = (_by_lines(each, kind, grid).split(grid, dim=2) for each in (cells_k, cells_v))
    attended = []
    for window, q in zip(windows(kind, prefix, grid, conv_kernel, conv_wrap, queries.device), q_windows, strict=False):
        k = torch.cat([prefix_k, *k_lines[window.keys]], dim=2)
        v = torch.cat([prefix_v, *v_lines[window.keys]], dim=2)
        attended.append(_attention(q, k, v, window.mask[: q.shape[2], : k.shape[2]]))
    if kind == "column":
        attended = [_transposed(torch.cat(attended, dim=2), grid)[:, :, : sizes[1]]]
    by_position = [each.transpose(1, 2) for each in (of_prefix, *attended)]  # as the projection that follows wants it
    return torch.cat(by_position, dim=1).transpose(1, 2)


def _attention(
    queries: Float[Tensor, "batch heads q dim"],
    keys: Float[Tensor, "batch heads k dim"],
    values: Float[Tensor, "batch heads k dim"],
    mask: Bool[Tensor, "q k"],
) -> Float[Tensor, "batch heads q dim"]:
    """Torch's fused attention; but on a CPU in bfloat16 three plain operations, which are twice as fast there.

    The fused one for CPUs multiplies bfloat16 no faster than float32, plain products do. They keep the weights for the
    backward pass.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    hidden = torch.zeros(mask.shape, dtype=queries.dtype).masked_fill_(~mask, -torch.inf)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.mT
    with without_autocast("cpu"):  # it would make float32 of the weights: more to keep, and to cast back
        weights = scores.add_(hidden).softmax(-1)
    return weights @ values


def _by_lines(
    cells: Float[Tensor, "batch heads n dim"], kind: Kind, grid: int
) -> Float[Tensor, "batch heads cells dim"]:
    """Line after line. In columns, cells that are not there yet are zeros: no cell before them sees them."""
    if kind != "column":
        return cells
    return _transposed(F.pad(cells, (0, 0, 0, grid * grid - cells.shape[2])), grid)


def _transposed(cells: Float[Tensor, "batch heads cells dim"], grid: int) -> Float[Tensor, "batch heads cells dim"]:
    return cells.unflatten(2, (grid, grid)).transpose(2, 3).flatten(2, 3)

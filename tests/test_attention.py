"""The masks against their definitions, written out as slow loops over rows and columns."""

import pytest
import torch

from dalle.models.attention import cell_mask, context_mask, layer_kinds, seen_cells


def sees_row(one, other, grid, _kernel):
    """The previous grid + 1 cells including itself (figure 11: 5 on a grid of 4)."""
    return one - other in range(grid + 1)


def sees_column(one, other, grid, _kernel):
    return other // grid <= one // grid and other % grid == one % grid


def sees_conv(one, other, grid, kernel):
    """Some offset of the kernel's square leads there in raster order, and not into the future."""
    half = kernel // 2
    square = [(down, right) for down in range(-half, half + 1) for right in range(-half, half + 1)]
    return other <= one and any(one + down * grid + right == other for down, right in square)


@pytest.mark.parametrize("grid", [1, 4, 5, 13])
@pytest.mark.parametrize(("kind", "sees"), [("row", sees_row), ("column", sees_column), ("conv", sees_conv)])
def test_masks_say_what_the_paper_says(kind, sees, grid):
    cells = range(grid * grid)
    expected = torch.tensor([[sees(one, other, grid, 5) for other in cells] for one in cells])
    assert torch.equal(cell_mask(kind, grid, 5), expected)


def test_the_papers_grid_sees_33_32_and_61_cells_at_most():
    most = {kind: int(cell_mask(kind, 32, 11).sum(1).max()) for kind in ("row", "column", "conv")}
    assert most == {"row": 33, "column": 32, "conv": 61}


@pytest.mark.parametrize("kind", ["row", "column", "conv"])
def test_text_is_causal_and_every_cell_sees_all_of_it(kind):
    mask = context_mask(kind, 7, 4, 3)
    assert torch.equal(mask[:7], torch.ones(7, 23).tril().bool())
    assert mask[7:, :7].all()
    assert torch.equal(mask[7:, 7:], cell_mask(kind, 4, 3))


def test_layers_are_row_column_row_row_and_the_last_is_convolutional():
    assert layer_kinds(64)[:8] == ["row", "column", "row", "row", "row", "column", "row", "row"]
    assert [number for number, kind in enumerate(layer_kinds(64), 1) if kind == "column"] == list(range(2, 64, 4))
    for depth in range(1, 12):
        assert len(layer_kinds(depth)) == depth
        assert [kind == "conv" for kind in layer_kinds(depth)] == [False] * (depth - 1) + [True]


@pytest.mark.parametrize(("kind", "grid"), [("row", 9), ("column", 9), ("conv", 9), ("conv", 4)])
def test_seen_cells_are_the_masks_cells(kind, grid):
    cells = torch.arange(grid * grid)
    for row in cell_mask(kind, grid, 5):
        assert torch.equal(cells[seen_cells(row)], cells[row])


def test_rows_and_columns_are_read_without_copying():
    for kind in ("row", "column"):
        assert all(isinstance(seen_cells(row), slice) for row in cell_mask(kind, 8, 11))

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


def sees_clamped(one, other, grid, kernel):
    """Some offset of the kernel's square leads there without leaving the grid, and not into the future."""
    down, right = other // grid - one // grid, other % grid - one % grid
    return other <= one and max(abs(down), abs(right)) <= kernel // 2


@pytest.mark.parametrize("grid", [1, 4, 5, 13])
@pytest.mark.parametrize(("kind", "sees"), [("row", sees_row), ("column", sees_column), ("conv", sees_conv)])
def test_masks_say_what_the_paper_says(kind, sees, grid):
    cells = range(grid * grid)
    expected = torch.tensor([[sees(one, other, grid, 5) for other in cells] for one in cells])
    assert torch.equal(cell_mask(kind, grid, 5), expected)


@pytest.mark.parametrize("grid", [1, 4, 5, 13])
def test_a_clamped_mask_sees_nothing_beyond_the_edge(grid):
    cells = range(grid * grid)
    expected = torch.tensor([[sees_clamped(one, other, grid, 5) for other in cells] for one in cells])
    assert torch.equal(cell_mask("conv", grid, 5, "clamp"), expected)


def test_the_two_readings_of_the_edge_differ_in_as_many_pairs_as_ru_dalles_mask_from_the_papers():
    assert int((cell_mask("conv", 32, 11) != cell_mask("conv", 32, 11, "clamp")).sum()) == 4815


@pytest.mark.parametrize("kernel", [2, 3, 4, 7])
def test_in_the_middle_of_the_grid_both_readings_are_one(kernel):
    middle = 6 * 13 + 6
    assert torch.equal(cell_mask("conv", 13, kernel)[middle], cell_mask("conv", 13, kernel, "clamp")[middle])


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

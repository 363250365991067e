"""A cache against the mask's definition: a step reads what the mask lets it see, and no more is kept than is needed."""

import pytest
import torch

from dalle.models.attention import cell_mask
from dalle.sampling.caches import Cache

DIM = 200  # so long that no idle slots are added


def fill(kind, grid, kernel, dim=DIM, wrap="raster"):
    """For every cell the cells whose keys and values its window shows, after it has been written itself."""
    cache, seen = Cache(kind, grid, kernel, streams=3, dim=dim, like=torch.empty(0), conv_wrap=wrap), []
    for cell in range(grid * grid):
        marked = torch.full((3, dim), float(cell + 1))
        cache.write(cell, torch.stack([marked, -marked]))
        keys, values, bias = cache.read(cell)
        assert keys.shape == values.shape == (3, *bias.shape, dim)
        assert torch.equal(values, -keys)
        assert set(bias.tolist()) <= {0, -torch.inf}
        seen.append(sorted((keys[1, bias == 0, 0] - 1).int().tolist()))
    return cache, seen


@pytest.mark.parametrize("grid", [1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize(
    ("kind", "kernel"), [("row", 11), ("column", 11), ("conv", 1), ("conv", 2), ("conv", 3), ("conv", 5), ("conv", 11)]
)
def test_a_step_reads_the_masks_cells(kind, kernel, grid):
    mask = cell_mask(kind, grid, kernel)
    assert fill(kind, grid, kernel)[1] == [row.nonzero().flatten().tolist() for row in mask]


@pytest.mark.parametrize("grid", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("kernel", [1, 2, 3, 11])
def test_a_step_reads_no_cell_beyond_the_edge_where_the_mask_does_not_wrap(kernel, grid):
    mask = cell_mask("conv", grid, kernel, "clamp")
    assert fill("conv", grid, kernel, wrap="clamp")[1] == [row.nonzero().flatten().tolist() for row in mask]


def test_narrow_heads_get_idle_slots_that_change_nothing():
    cache, seen = fill("row", 4, 5, dim=8)
    assert cache.slots == 50
    assert seen == fill("row", 4, 5)[1]


@pytest.mark.parametrize(
    ("kind", "kept", "read"), [("row", 33, 33), ("column", 1024, 32), ("conv", 5 * 32 + 5 + 1, 61)]
)
def test_on_the_papers_grid_caches_keep_and_read_what_the_mask_reaches(kind, kept, read):
    cache = Cache(kind, 32, 11, streams=2, dim=64, like=torch.empty(0))
    assert cache.memory.numel() == 2 * 2 * 64 * kept
    assert len(cache.read(500)[2]) == read
    if kind != "conv":  # nothing is copied
        assert cache.read(500)[0].untyped_storage().data_ptr() == cache.memory.untyped_storage().data_ptr()


def test_the_papers_caches_take_a_quarter_of_full_ones():
    """The published model: 16 column layers, 47 row layers and a convolutional one."""
    kept = {
        kind: Cache(kind, 32, 11, 1, 64, torch.empty(0)).memory.numel() // 128 for kind in ("row", "column", "conv")
    }
    share = (16 * kept["column"] + 47 * kept["row"] + kept["conv"]) / (64 * 1024)
    assert share == pytest.approx(0.276, abs=0.001)

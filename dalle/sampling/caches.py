"""What a layer remembers of the cells while it decodes: as many keys and values as its mask can still reach.

The memory is taken once. A step reads a window of it whose size never changes; a bias of −∞ hides the slots of the
window that hold nothing yet or nothing that the mask lets the cell see.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dalle.models.attention import Kind, Wrap, cell_mask

# torch.bmm multiplies smaller pairs of matrices in a scalar loop, which costs more than a few idle slots.
LEAST_PRODUCTS = 400


class Cache:
    """Keys and values of the cells for ``streams`` independent pairs of a candidate and a head.

    A row layer has a ring of ``grid`` + 1 slots. So has a convolutional layer, as long as its kernel reaches back; if
    the kernel leaves most of its ring out, what it sees is copied into a window. A column layer needs every cell again,
    so it keeps them all, column by column, and a step reads one column.
    """

    def __init__(
        self,
        kind: Kind,
        grid: int,
        conv_kernel: int,
        streams: int,
        dim: int,
        like: Tensor,
        conv_wrap: Wrap = "raster",
    ):
        mask = cell_mask(kind, grid, conv_kernel, conv_wrap)
        group, slot = _places(kind, grid, mask)
        self.group, self.slot = group.tolist(), slot.tolist()
        least = -(-LEAST_PRODUCTS // dim)
        self.slots = max(int(slot.max()) + 1, least)
        groups = int(group.max()) + 1
        self.memory = like.new_zeros(2, groups, streams, self.slots, dim)  # finite, because idle slots weigh 0, not nan
        bias = torch.full((grid * grid, self.slots), -torch.inf)
        cell, other = mask.nonzero(as_tuple=True)
        bias[cell, slot[other]] = 0
        self.picks = _picks(bias, max(int(mask.sum(1).max()), least))
        if self.picks is not None:
            bias, self.slots = bias.gather(1, self.picks), self.picks.shape[1]
            self.picks = self.picks.to(like.device)
            self.picked_keys, self.picked_values = like.new_empty(2, streams, self.slots, dim)
        self.bias = bias.to(like.device)

    def write(self, cell: int, keys_and_values: Float[Tensor, "2 streams dim"]) -> None:
        """Remember a cell, and forget the one that no later cell can see."""
        self.memory[:, self.group[cell], :, self.slot[cell]] = keys_and_values

    def read(
        self, cell: int
    ) -> tuple[Float[Tensor, "streams slots dim"], Float[Tensor, "streams slots dim"], Float[Tensor, " slots"]]:
        """The window of a cell: keys, values, and what is added to the logits of each slot, 0 or −∞."""
        keys, values = self.memory[:, self.group[cell]]
        if self.picks is not None:
            keys = torch.index_select(keys, 1, self.picks[cell], out=self.picked_keys)
            values = torch.index_select(values, 1, self.picks[cell], out=self.picked_values)
        return keys, values, self.bias[cell]


def _places(
    kind: Kind, grid: int, mask: Bool[Tensor, "cells cells"]
) -> tuple[Int64[Tensor, " cells"], Int64[Tensor, " cells"]]:
    """Group and slot of each cell. Two cells share a place only if the later one is written when the earlier one is
    out of reach."""
    cells = torch.arange(grid * grid)
    if kind == "column":
        return cells % grid, cells // grid
    cell, other = mask.nonzero(as_tuple=True)
    ring = int((cell - other).max()) + 1
    return torch.zeros_like(cells), cells % ring


def _picks(bias: Float[Tensor, "cells slots"], most: int) -> Int64[Tensor, "cells most"] | None:
    """The ``most`` slots that each cell sees, filled up with others, if reading only these at least halves the work."""
    if 2 * most > bias.shape[1]:
        return None
    return (-bias).argsort(dim=1, stable=True)[:, :most]

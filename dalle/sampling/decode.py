"""Token-by-token decoding that computes nothing twice.

The caption is run once and its keys and values are shared by all candidates. Each candidate's own keys and values go
into caches of fixed size, of which a step reads only the cells that the layer's mask lets it see.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from dalle.models.attention import Kind, cell_mask, seen_cells
from dalle.models.transformer import Block, Shape, Transformer


class Decoder:
    """Decodes ``rows`` candidates of one caption at a time: ``prefill`` once, then ``step`` cell by cell."""

    def __init__(self, model: Transformer, rows: int):
        self.model, self.rows = model, rows
        blocks = zip(model.blocks, model.kinds, strict=True)
        self.layers = [_Layer(model.shape, block, kind, rows) for block, kind in blocks]

    def prefill(self, text: Int64[Tensor, " text"]) -> Float[Tensor, "rows codes"]:
        """Take up a caption, forgetting the last one. Gives the logits of cell 0, the same for every candidate."""
        x = self.model.embed_prefix(text[None])
        for layer in self.layers:
            x = layer.prefill(x)
        return self.model.image_logits(x[:, -1]).expand(self.rows, -1)

    def step(self, cell: int, codes: Int64[Tensor, " rows"]) -> Float[Tensor, "rows codes"]:
        """Put ``codes`` into ``cell``. Gives the logits of the next cell."""
        x = self.model.embed_codes(codes[:, None], torch.tensor([cell], device=codes.device))
        for layer in self.layers:
            x = layer.step(x, cell)
        return self.model.image_logits(x[:, 0])


class _Layer:
    """A block of the transformer with what it remembers: keys and values of the prefix and of the cells so far."""

    def __init__(self, shape: Shape, block: Block, kind: Kind, rows: int):
        self.block = block
        self.seen = [seen_cells(row) for row in cell_mask(kind, shape.grid, shape.conv_kernel)]
        size = (rows, shape.heads, shape.cells, shape.width // shape.heads)
        self.keys, self.values = block.qkv.weight.new_empty(2, *size)

    def prefill(self, x: Float[Tensor, "1 prefix width"]) -> Float[Tensor, "1 prefix width"]:
        queries, keys, values = self.block.project(x)
        self.prefix_keys, self.prefix_values = keys[0], values[0]
        return self.block.merge(x, F.scaled_dot_product_attention(queries, keys, values, is_causal=True))

    def step(self, x: Float[Tensor, "rows 1 width"], cell: int) -> Float[Tensor, "rows 1 width"]:
        queries, keys, values = self.block.project(x)
        self.keys[:, :, cell], self.values[:, :, cell] = keys[:, :, 0], values[:, :, 0]
        return self.block.merge(x, self._attend(queries, self.seen[cell]))

    def _attend(
        self, queries: Float[Tensor, "rows heads 1 dim"], seen: slice | Int64[Tensor, " seen"]
    ) -> Float[Tensor, "rows heads 1 dim"]:
        """One softmax over the prefix, shared by all rows, and the seen cells, each row's own (paper §2.2, note 7)."""
        queries = queries * queries.shape[-1] ** -0.5
        shared = queries[:, :, 0].transpose(0, 1)  # heads rows dim: one product for all rows
        to_prefix = (shared @ self.prefix_keys.mT).transpose(0, 1)
        to_cells = (queries @ self.keys[:, :, seen].mT)[:, :, 0]
        weights = torch.cat([to_prefix, to_cells], dim=-1).softmax(-1)
        prefix = self.prefix_keys.shape[1]
        from_prefix = (weights[..., :prefix].transpose(0, 1) @ self.prefix_values).transpose(0, 1)
        return from_prefix[:, :, None] + weights[:, :, None, prefix:] @ self.values[:, :, seen]

"""A plain decode of the same weights, as gpt-fast does it: every step attends over the whole context with a mask.

Keys and values have a place for every position, the caption's are copied to every row, and torch's own attention reads
all of them at each step. It gives the same logits as :class:`dalle.sampling.decode.Decoder`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from dalle.models.attention import context_mask
from dalle.models.transformer import Transformer


class FullCacheDecoder:
    """As a ``Decoder``: ``rows`` candidates of each of ``captions`` captions."""

    def __init__(self, model: Transformer, captions: int, rows: int):
        self.model, self.rows, shape = model, rows, model.shape
        self.masks = [
            context_mask(kind, shape.prefix, shape.grid, shape.conv_kernel, shape.conv_wrap) for kind in model.kinds
        ]
        size = (captions * rows, shape.heads, shape.prefix + shape.cells, shape.width // shape.heads)
        self.memory = model.code.weight.new_zeros(shape.depth, 2, *size)

    def prefill(self, text: Int64[Tensor, "captions text"]) -> None:
        """Take up the captions."""
        x = self.model.embed_prefix(text)
        for block, memory in zip(self.model.blocks, self.memory, strict=True):
            queries, keys, values = block.project(x)
            memory[:, :, :, : x.shape[1]] = torch.stack([keys, values]).repeat_interleave(self.rows, dim=1)
            x = block.merge(x, F.scaled_dot_product_attention(queries, keys, values, is_causal=True))
        self.x = x[:, -1:].repeat_interleave(self.rows, dim=0)

    def put(self, cell: int, codes: Int64[Tensor, " all_rows"]) -> None:
        """Put ``codes`` into ``cell``."""
        x, place = self.model.embed_codes(codes[:, None], torch.tensor([cell])), self.model.shape.prefix + cell
        for block, mask, memory in zip(self.model.blocks, self.masks, self.memory, strict=True):
            queries, *remembered = block.project(x)
            memory[:, :, :, place] = torch.stack(remembered)[:, :, :, 0]
            x = block.merge(x, F.scaled_dot_product_attention(queries, *memory, attn_mask=mask[place : place + 1]))
        self.x = x

    def logits(self) -> Float[Tensor, "all_rows codes"]:
        """Of the first cell that has no codes yet."""
        return self.model.image_logits(self.x)[:, 0]

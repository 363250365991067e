"""Token-by-token decoding that computes nothing twice and takes no memory as it goes.

A caption is run once and its keys and values are shared by all its candidates. Each candidate's own keys and values go
into caches of fixed size (:mod:`dalle.sampling.caches`). Many captions are decoded together: the more rows a matrix
product has, the less each costs.

Every product of matrices here has 4 rows or more. MKL's results are then the same to the last bit wherever a row stands
and whatever stands around it; with fewer it takes other kernels. :func:`dalle.sampling.sampler.rows_agree` checks that.
"""

from math import pi, sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dalle.models.attention import Kind
from dalle.models.transformer import Block, Shape, Transformer
from dalle.sampling.caches import Cache


def on_device(model: Transformer, device: torch.device) -> Transformer:
    """The model moved to ``device``; on a GPU with the matrices of its blocks in bfloat16.

    The residual stream, the norms, the softmax and the logits stay in float32 everywhere.
    """
    model = model.to(device)
    if device.type == "cuda":
        for block in model.blocks:
            for matrix in (block.qkv, block.out, block.up, block.down):
                matrix.bfloat16()
    return model


class Decoder:
    """Decodes ``rows`` candidates of each of ``captions`` captions: ``prefill`` once, then ``put`` cell by cell.

    The candidates of a caption are neighbours.
    """

    def __init__(self, model: Transformer, captions: int, rows: int):
        self.model, self.captions, self.rows = model, captions, rows
        shape, weight = model.shape, model.blocks[0].qkv.weight
        space = _Workspace(shape, captions, rows, weight)
        self.layers = [_Layer(shape, block, kind, space) for block, kind in zip(model.blocks, model.kinds, strict=True)]
        self.places = (model.row.weight[:, None] + model.column.weight).flatten(0, 1).detach()
        self.x = model.code.weight.new_empty(captions * rows, shape.width)
        self._logits = model.code.weight.new_empty(captions * rows, shape.codes)

    @property
    def device(self) -> torch.device:
        return self.x.device

    def prefill(self, text: Int64[Tensor, "captions text"]) -> None:
        """Take up the captions, forgetting the last ones."""
        x = self.model.embed_prefix(text)
        for layer in self.layers:
            x = layer.prefill(x)
        self.x.view(self.captions, self.rows, -1).copy_(x[:, -1:])

    def put(self, cell: int, codes: Int64[Tensor, " all_rows"]) -> None:
        """Put ``codes`` into ``cell``."""
        torch.index_select(self.model.code.weight, 0, codes, out=self.x)
        self.x += self.places[cell]
        for layer in self.layers:
            layer.step(self.x, cell)

    def logits(self) -> Float[Tensor, "all_rows codes"]:
        """Of the first cell that has no codes yet, until the next call. Nothing is multiplied for the text's half."""
        return _linear(self.model.image_head, self.model.norm(self.x), self._logits)


class _Workspace:
    """The buffers of a step, which all layers share."""

    def __init__(self, shape: Shape, captions: int, rows: int, like: Tensor):
        self.captions, self.rows, self.like = captions, rows, like
        self.streams, self.prefix = captions * rows * shape.heads, shape.prefix
        all_rows, dim = captions * rows, shape.width // shape.heads
        self.qkv = like.new_empty(all_rows, 3 * shape.width)
        self.heads = like.new_empty(3, captions, shape.heads, rows, dim)
        self.to_prefix = like.new_empty(captions * shape.heads, rows, shape.prefix)
        self.attended = like.new_empty(captions, shape.heads, rows, dim)
        self.mixed, self.out = like.new_empty(2, all_rows, shape.width)
        self.up, self.gate = like.new_empty(2, all_rows, 4 * shape.width)
        self._scores: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def scores(
        self, slots: int
    ) -> tuple[
        Float[Tensor, "streams 1 slots"],
        Float[Tensor, "streams 1 prefix_and_slots"],
        Float[Tensor, "streams 1 prefix_and_slots"],
    ]:
        """Buffers for a window of ``slots``: its logits, the logits of prefix and window, and their softmax."""
        if slots not in self._scores:
            to_window = self.like.new_empty(self.streams, 1, slots)
            both = self.like.new_empty(2, self.streams, 1, self.prefix + slots, dtype=torch.float32)
            self._scores[slots] = to_window, both[0], both[1]
        return self._scores[slots]


class _Layer:
    """A block of the transformer with what it remembers: keys and values of the prefixes and of the cells."""

    def __init__(self, shape: Shape, block: Block, kind: Kind, space: _Workspace):
        self.block, self.space, self.dtype = block, space, block.qkv.weight.dtype
        dim = shape.width // shape.heads
        self.cache = Cache(kind, shape.grid, shape.conv_kernel, space.streams, dim, space.like)

    def prefill(self, x: Float[Tensor, "captions prefix width"]) -> Float[Tensor, "captions prefix width"]:
        block, (captions, prefix, _) = self.block, x.shape
        qkv = block.qkv(block.norm1(x).to(self.dtype)).view(captions, prefix, 3, block.heads, -1)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)  # each captions heads prefix dim
        self.prefix_keys, self.prefix_values = (part.flatten(0, 1).contiguous() for part in (keys, values))
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + block.out(attended.transpose(1, 2).flatten(2))
        return x + block.down(F.gelu(block.up(block.norm2(x).to(self.dtype)), approximate="tanh"))

    def step(self, x: Float[Tensor, "all_rows width"], cell: int) -> None:
        """Advance the residual stream ``x`` of ``cell``, in place."""
        block, space = self.block, self.space
        qkv = _linear(block.qkv, block.norm1(x).to(self.dtype), space.qkv)
        space.heads.copy_(qkv.view(space.captions, space.rows, 3, block.heads, -1).permute(2, 0, 3, 1, 4))
        heads = space.heads.flatten(1, 3)
        self.cache.write(cell, heads[1:])
        self._attend(heads[0].mul_(heads.shape[-1] ** -0.5), cell)
        space.mixed.view(space.captions, space.rows, block.heads, -1).copy_(space.attended.transpose(1, 2))
        x += _linear(block.out, space.mixed, space.out)
        hidden = _linear(block.up, block.norm2(x).to(self.dtype), space.up)
        x += _linear(block.down, _gelu(hidden, space.gate), space.out)

    def _attend(self, queries: Float[Tensor, "streams dim"], cell: int) -> None:
        """One softmax over the prefix, shared by a caption's rows, and the window of cells, each row's own (paper
        §2.2, note 7), into ``space.attended``."""
        space = self.space
        shared, own = queries.view(len(self.prefix_keys), space.rows, -1), queries[:, None]
        attended = space.attended.view_as(shared)
        keys, values, bias = self.cache.read(cell)
        to_window, scores, weights = space.scores(keys.shape[1])
        # bmm writes into a part of a larger tensor ten times slower than it writes whole and copies
        scores.view(*shared.shape[:2], -1)[..., : space.prefix] = torch.bmm(
            shared, self.prefix_keys.mT, out=space.to_prefix
        )
        torch.add(torch.bmm(own, keys.mT, out=to_window), bias, out=scores[..., space.prefix :])
        weights = torch.softmax(scores, -1, out=weights).to(self.dtype)
        torch.bmm(weights.view(*shared.shape[:2], -1)[..., : space.prefix], self.prefix_values, out=attended)
        attended = attended.view_as(own)
        torch.baddbmm(attended, weights[..., space.prefix :], values, out=attended)


def _linear(linear: nn.Linear, x: Float[Tensor, "n k"], out: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    return torch.addmm(linear.bias, x, linear.weight.mT, out=out)


def _gelu(x: Float[Tensor, "n m"], spare: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """The tanh GELU of ``x``, in place: x·σ(2u) = x·(1 + tanh u) / 2. On CPU tanh takes four times as long as σ."""
    torch.mul(x, x, out=spare)
    torch.addcmul(x, x, spare, value=0.044715, out=spare)
    return x.mul_(spare.mul_(2 * sqrt(2 / pi)).sigmoid_())

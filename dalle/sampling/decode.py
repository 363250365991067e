"""Token-by-token decoding that computes nothing twice.

A caption is run once and its keys and values are shared by all its candidates. Each candidate's own keys and values go
into caches of fixed size (:mod:`dalle.sampling.caches`). Many captions are decoded together: the more rows a matrix
product has, the less each costs.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dalle.models.attention import Kind
from dalle.models.transformer import ACTIVATIONS, Block, Shape, Transformer
from dalle.sampling.caches import Cache

NOTHING = ("none", [], "")  # what oneDNN does to a product before it writes it
WITHIN = {"gelu": ("gelu", [], "none"), "gelu_tanh": ("gelu", [], "tanh")}


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
        shape, space = model.shape, _Workspace(model.shape, captions, rows, model.blocks[0].qkv.weight)
        self.layers = [_Layer(shape, block, kind, space) for block, kind in zip(model.blocks, model.kinds, strict=True)]
        self.places = (model.row.weight[:, None] + model.column.weight).flatten(0, 1).detach()
        self.head = _Matrix(model.image_head)
        self.x = model.code.weight.new_empty(captions * rows, shape.width)

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
        """Of the first cell that has no codes yet. Nothing is multiplied for the text's half."""
        return self.head(self.model.norm(self.x))


class _Workspace:
    """The buffers of a step's attention, which all layers share."""

    def __init__(self, shape: Shape, captions: int, rows: int, like: Tensor):
        self.captions, self.rows, self.like = captions, rows, like
        self.streams, self.prefix = captions * rows * shape.heads, shape.prefix
        all_rows, dim = captions * rows, shape.width // shape.heads
        self.heads = like.new_empty(3, captions, shape.heads, rows, dim)
        self.to_prefix = like.new_empty(captions * shape.heads, rows, shape.prefix)
        self.attended = like.new_empty(captions, shape.heads, rows, dim)
        self.mixed = like.new_empty(all_rows, shape.width)
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
        self.block, self.space = block, space
        self.qkv, self.out, self.down = map(_Matrix, (block.qkv, block.out, block.down))
        self.up = _Matrix(block.up, shape.activation)
        dim = shape.width // shape.heads
        self.cache = Cache(kind, shape.grid, shape.conv_kernel, space.streams, dim, space.like, shape.conv_wrap)

    def prefill(self, x: Float[Tensor, "captions prefix width"]) -> Float[Tensor, "captions prefix width"]:
        qkv = self.qkv(self.block.norm1(x)).unflatten(-1, (3, self.block.heads, -1))
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)  # each captions heads prefix dim
        self.prefix_keys, self.prefix_values = (part.flatten(0, 1).contiguous() for part in (keys, values))
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.block.norm1_after(self.out(attended.transpose(1, 2).flatten(2)).to(x.dtype))
        return x + self._mlp(x)

    def step(self, x: Float[Tensor, "all_rows width"], cell: int) -> None:
        """Advance the residual stream ``x`` of ``cell``, in place."""
        space, heads = self.space, self.block.heads
        qkv = self.qkv(self.block.norm1(x)).view(space.captions, space.rows, 3, heads, -1)
        streams = space.heads.copy_(qkv.permute(2, 0, 3, 1, 4)).flatten(1, 3)
        self.cache.write(cell, streams[1:])
        self._attend(streams[0].mul_(streams.shape[-1] ** -0.5), cell)
        space.mixed.view(space.captions, space.rows, heads, -1).copy_(space.attended.transpose(1, 2))
        x += self.block.norm1_after(self.out(space.mixed).to(x.dtype))
        x += self._mlp(x)

    def _mlp(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        return self.block.norm2_after(self.down(self.up(self.block.norm2(x))).to(x.dtype))

    def _attend(self, queries: Float[Tensor, "streams dim"], cell: int) -> None:
        """One softmax over the prefix, shared by a caption's rows, and the window of cells, each row's own (paper
        §2.2, note 7), into ``space.attended``."""
        space, prefix = self.space, self.space.prefix
        shared, own = queries.view(len(self.prefix_keys), space.rows, -1), queries[:, None]
        keys, values, bias = self.cache.read(cell)
        to_window, scores, weights = space.scores(keys.shape[1])
        # into a part of a larger tensor bmm writes ten times slower than it writes whole and is copied
        scores[..., :prefix] = torch.bmm(shared, self.prefix_keys.mT, out=space.to_prefix).view(-1, 1, prefix)
        torch.add(torch.bmm(own, keys.mT, out=to_window), bias, out=scores[..., prefix:])
        weights = torch.softmax(scores, -1, out=weights).to(own.dtype)
        from_prefix, from_window = weights.view(*shared.shape[:2], -1)[..., :prefix], weights[..., prefix:]
        attended = space.attended.view_as(own)
        torch.bmm(from_prefix, self.prefix_values, out=space.attended.view_as(shared))
        torch.baddbmm(attended, from_window, values, out=attended)


class _Matrix:
    """An ``nn.Linear`` made ready for many products of few rows, in the type of its weights, and what comes after it.

    On CPUs oneDNN lays the weights out once; ``addmm`` does so at every call, which costs as much as 30 rows. The two
    operators are those that torch.compile puts in for a linear layer. They have no public name.
    """

    def __init__(self, linear: nn.Linear, activation: str | None = None):
        self.weight, self.bias = linear.weight.detach(), linear.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight) if _is_packable(self.weight) else None
        self.within = WITHIN[activation] if self.packed is not None and activation in WITHIN else NOTHING
        self.after = None if activation is None or self.within is not NOTHING else ACTIVATIONS[activation]

    def __call__(self, x: Float[Tensor, "*n k"]) -> Float[Tensor, "*n m"]:
        """The product, and its activation if it has one."""
        x = x.to(self.weight.dtype)
        if self.packed is None:
            product = F.linear(x, self.weight, self.bias)
        else:
            product = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, *self.within)
        return product if self.after is None else self.after(product)


def _is_packable(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()

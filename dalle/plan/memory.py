"""What a GPU must hold, in bytes: the state of the training, and what the forward pass keeps for the backward pass."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dalle.config.training import Optimisation
from dalle.models.attention import Kind, cell_mask, layer_kinds
from dalle.models.sparse_attention import windows
from dalle.models.transformer import Shape
from dalle.plan.flops import positions
from dalle.plan.parameters import PriorParameters

HALF, SINGLE = 2, 4  # bytes of a number in 16 and in 32 bits


@dataclass(frozen=True)
class Precision:
    """Bytes of state a parameter: of the blocks' matrices, and of the rest (embeddings, heads, gains, biases)."""

    name: str
    matrices: int
    rest: int


def ours(settings: Optimisation) -> Precision:
    """bf16 through autocast: weights, gradients and average in float32, two moments too (Muon: one for matrices)."""
    moments = 1 if settings.optimiser == "muon" else 2
    return Precision("bf16", SINGLE * (3 + moments), SINGLE * 5)


# §2.4, §B.2, §E: matrices have 16-bit weights, 16-bit error buffers in which the gradients gather, and 16-bit moments;
# the rest has 32-bit weights, gradients and moments. The average lies on the CPU.
PAPER = Precision("fp16 (paper)", 4 * HALF, 4 * SINGLE)


def state_bytes(parameters: PriorParameters, precision: Precision, shards: int) -> int:
    """Weights, gradients, moments and average a GPU: bytes a parameter × parameters ÷ shards."""
    whole = precision.matrices * parameters.matrices + precision.rest * parameters.rest
    return -(-whole // shards)


def working_copy_bytes(parameters: PriorParameters, shape: Shape, shards: int) -> int:
    """The 16-bit matrices that are multiplied with: all of them; sharded, the present block's and the next one's."""
    blocks = shape.depth if shards == 1 else min(2, shape.depth)
    return HALF * parameters.matrices // shape.depth * blocks


def block_bytes(shape: Shape, batch: int) -> int:
    """What a block keeps for its backward pass, with fused attention (its n × n weights are recomputed, not kept).

    A position, width d: in float32 the residual stream before attention and before the MLP (2 · 4d), two norms' mean
    and deviation (16) and each head's log-sum (4 · heads); in 16 bit both normed streams (2 · 2d), queries, keys and
    values (6d), what was attended to (2d), the MLP's hidden layer before and after its GELU (2 · 8d). Together
    36d + 4 · heads + 16. And once a block the mask as a 16-bit bias, 2n².
    """
    n = positions(shape)
    return batch * n * (36 * shape.width + 4 * shape.heads + 16) + HALF * n**2


def windows_bytes(shape: Shape, batch: int, kind: Kind) -> int:
    """What attention in windows keeps more than dense attention, in a layer of this kind; in 16 bit.

    Of each window its queries and what they attended to (2 · 2d a cell), the prefix's part of what was attended to
    (2d a position of it), and the keys and values it sees, copied together with the prefix's (2 · 2d each). The masks
    of the windows instead of the whole one. In row and convolutional layers up to a twentieth less is kept.
    """
    parts = windows(kind, shape.prefix, shape.grid, shape.conv_kernel, shape.conv_wrap, torch.device("cpu"))
    copied = 2 * shape.cells + shape.prefix + 2 * sum(part.mask.shape[1] for part in parts)
    masks = sum(part.mask.numel() for part in parts) - positions(shape) ** 2
    return HALF * (batch * copied * shape.width + masks)


def ends_bytes(shape: Shape, batch: int) -> int:
    """What the last norm, both heads and the cross-entropy hold at their largest, as the backward pass begins.

    A logit of either head: 4 bytes, its log-probability. Of the head with more logits two gradients too, 2 · 4. A
    position: the stream (4d), its norm in 16 bit (2d), mean and deviation (8).
    """
    text, image = shape.text_context * (shape.text_vocab + 1), shape.cells * shape.codes
    return batch * (4 * (text + image) + 8 * max(text, image) + positions(shape) * (6 * shape.width + 8))


def activation_bytes(shape: Shape, batch: int, checkpointing: bool, attention: str = "dense") -> int:
    """Of a whole forward pass of ``batch`` pairs: every block's activations; with checkpointing the float32 streams
    that enter the blocks (4d a position), and the activations of the one block that is being recomputed."""
    more = {kind: 0 if attention == "dense" else windows_bytes(shape, batch, kind) for kind in layer_kinds(shape.depth)}
    block, ends = block_bytes(shape, batch), ends_bytes(shape, batch)
    if not checkpointing:
        return sum(block + more[kind] for kind in layer_kinds(shape.depth)) + ends
    streams = shape.depth * batch * positions(shape) * SINGLE * shape.width
    return streams + max(block + max(more.values()), ends)


def saved_bytes(forward: Callable[[], object]) -> int:
    """Bytes that autograd keeps while ``forward`` runs, parameters not counted, views counted once; on any device."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and not isinstance(tensor._base, nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def cache_bytes(shape: Shape) -> int:
    """Keys and values of one candidate at full length, 16 bit: 2 · 2 bytes · d · layers · (prefix + cells)."""
    return 2 * HALF * shape.width * shape.depth * (shape.prefix + shape.cells)


def ring_bytes(shape: Shape) -> int:
    """The same, as far as a mask can reach back, and without the prefix, which all candidates of a caption share.

    2 · 2 bytes · d · the sum over layers of: all cells in a column layer, else the furthest cell that is seen, plus 1.
    """
    kinds = layer_kinds(shape.depth)
    kept = {kind: _kept_cells(shape, kind) for kind in set(kinds)}
    return 2 * HALF * shape.width * sum(kept[kind] for kind in kinds)


def _kept_cells(shape: Shape, kind: Kind) -> int:
    cell, seen = cell_mask(kind, shape.grid, shape.conv_kernel, shape.conv_wrap).nonzero(as_tuple=True)
    return shape.cells if kind == "column" else int((cell - seen).max()) + 1

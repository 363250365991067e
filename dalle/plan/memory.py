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
    """Bytes of a number that blocks multiply, and of what is kept for each parameter: first of the blocks' matrices,
    then of the rest (embeddings, heads, gains, biases)."""

    name: str
    number: int
    weights: tuple[int, int]
    optimiser: tuple[int, int]  # gradients, moments, average, PowerSGD's errors


def moments(settings: Optimisation) -> int:
    """How many running moments a matrix of the blocks has: Muon keeps one, AdamW two."""
    return 1 if settings.optimiser == "muon" else 2


def ours(settings: Optimisation) -> Precision:
    """All in float32, multiplied in ``settings.precision`` through autocast: gradients, average, two moments (Muon: one
    for matrices), and with PowerSGD the errors of the matrices."""
    beside = 2 + moments(settings) + (settings.distributed.powersgd is not None)
    number = SINGLE if settings.precision == "float32" else HALF
    return Precision(settings.precision, number, (SINGLE, SINGLE), (SINGLE * beside, SINGLE * 4))


# §2.4, §B.2, §E: matrices have 16-bit weights, 16-bit error buffers in which the gradients gather, and 16-bit moments;
# the rest has 32-bit weights, gradients and moments. The average lies on the CPU.
PAPER = Precision("paper", HALF, (HALF, SINGLE), (3 * HALF, 3 * SINGLE))


def weights_bytes(parameters: PriorParameters, precision: Precision, shards: int) -> int:
    """What a GPU keeps of the weights: bytes a parameter × parameters ÷ shards."""
    return _cut(parameters, precision.weights, shards)


def optimiser_bytes(parameters: PriorParameters, precision: Precision, shards: int) -> int:
    """What a GPU keeps of gradients, moments, average and errors: bytes a parameter × parameters ÷ shards."""
    return _cut(parameters, precision.optimiser, shards)


def _cut(parameters: PriorParameters, bytes_of: tuple[int, int], shards: int) -> int:
    return -(-(bytes_of[0] * parameters.matrices + bytes_of[1] * parameters.rest) // shards)


def working_copy_bytes(parameters: PriorParameters, shape: Shape, precision: Precision, shards: int) -> int:
    """The matrices that are multiplied with, where they are not the weights themselves: all of them, in 16 bit;
    sharded, the present block's and the next one's."""
    if shards == 1 and precision.number == precision.weights[0]:
        return 0
    blocks = shape.depth if shards == 1 else min(2, shape.depth)
    return precision.number * parameters.matrices // shape.depth * blocks


def block_bytes(shape: Shape, batch: int, number: int) -> int:
    """What a block keeps for its backward pass, with fused attention (its n × n weights are recomputed, not kept).

    A position, width d: in float32 the residual stream before attention and before the MLP (2 · 4d), two norms' mean
    and deviation (16) and each head's log-sum (4 · heads); in numbers of ``number`` bytes both normed streams (2d),
    queries, keys and values (3d), what was attended to (d), the MLP's hidden layer before and after its GELU (2 · 4d).
    Together 8d + 14d · number + 4 · heads + 16. And once a block the mask as a bias, n² · number.
    """
    n = positions(shape)
    return batch * n * ((8 + 14 * number) * shape.width + 4 * shape.heads + 16) + number * n**2


def windows_bytes(shape: Shape, batch: int, kind: Kind, number: int) -> int:
    """What attention in windows keeps more than dense attention, in a layer of this kind.

    Of each window its queries and what they attended to (2d a cell), the prefix's part of what was attended to (d a
    position of it), and the keys and values it sees, copied together with the prefix's (2d each). The masks of prefix
    and windows instead of the whole one. In row and convolutional layers up to a twentieth less is kept.
    """
    parts = windows(kind, shape.prefix, shape.grid, shape.conv_kernel, shape.conv_wrap, torch.device("cpu"))
    copied = 2 * shape.cells + shape.prefix + 2 * sum(part.mask.shape[1] for part in parts)
    masks = sum(part.mask.numel() for part in parts) + shape.prefix**2 - positions(shape) ** 2
    return number * (batch * copied * shape.width + masks)


def ends_bytes(shape: Shape, batch: int) -> int:
    """What the last norm, both heads and the cross-entropy hold at their largest, as the backward pass begins.

    A logit of either head: 4 bytes, its log-probability. Of the head with more logits two gradients too, 2 · 4. A
    position: the stream and its norm, float32 (2 · 4d), mean and deviation (8).
    """
    text, image = shape.text_context * (shape.text_vocab + 1), shape.cells * shape.codes
    return batch * (4 * (text + image) + 8 * max(text, image) + positions(shape) * (8 * shape.width + 8))


def activation_bytes(shape: Shape, batch: int, number: int, checkpointing: bool, attention: str = "dense") -> int:
    """Of a whole forward pass of ``batch`` pairs: every block's activations; with checkpointing the float32 streams
    that enter the blocks (4d a position), the activations of the one block that is being recomputed, and the gradients
    of its stream and hidden layer (4d + 4d · number)."""
    kinds = layer_kinds(shape.depth)
    more = {kind: 0 if attention == "dense" else windows_bytes(shape, batch, kind, number) for kind in kinds}
    block, ends = block_bytes(shape, batch, number), ends_bytes(shape, batch)
    if not checkpointing:
        return sum(block + more[kind] for kind in kinds) + ends
    whole = batch * positions(shape) * shape.width
    recomputed = block + max(more.values()) + (SINGLE + 4 * number) * whole
    return shape.depth * SINGLE * whole + max(recomputed, ends)


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

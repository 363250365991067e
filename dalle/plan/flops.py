"""How much is computed. A multiplication with its addition is two FLOPs; norms, softmax and the like count nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dalle.models.attention import Kind, context_mask, layer_kinds
from dalle.models.transformer import Shape


@dataclass(frozen=True)
class Flops:
    """FLOPs of the prior's forward pass over one pair of caption and picture."""

    matrices: int
    attention: int
    heads: int

    @property
    def forward(self) -> int:
        return self.matrices + self.attention + self.heads


def positions(shape: Shape) -> int:
    """Positions of a training sequence: prefix + cells - 1, because nothing is learnt from the last code."""
    return shape.prefix + shape.cells - 1


def learnt_tokens(shape: Shape) -> int:
    """Tokens of a pair that have a loss: text positions + cells. What "tokens" means in this plan."""
    return shape.text_context + shape.cells


def seen_pairs(shape: Shape, kind: Kind) -> int:
    """Pairs (position, position it sees) in a training sequence, by the mask of a layer of this kind."""
    mask = context_mask(kind, shape.prefix, shape.grid, shape.conv_kernel, shape.conv_wrap)
    return int(mask[:-1, :-1].sum())


def forward_flops(shape: Shape, dense: bool) -> Flops:
    """Of n positions, width d and L layers:

    - matrices: 2 · 12d² · L · n;
    - attention: 4d a seen pair, for queries·keys and weights·values. Attention that is ``dense`` computes all n² pairs
      of a layer and hides some; else only those that the masks show;
    - heads: 2d a logit, of text_vocab + 1 classes at each text position and of all codes at each cell.
    """
    n, d = positions(shape), shape.width
    pairs = {kind: n**2 if dense else seen_pairs(shape, kind) for kind in set(layer_kinds(shape.depth))}
    logits = shape.text_context * (shape.text_vocab + 1) + shape.cells * shape.codes
    return Flops(
        matrices=2 * 12 * d**2 * shape.depth * n,
        attention=4 * d * sum(pairs[kind] for kind in layer_kinds(shape.depth)),
        heads=2 * d * logits,
    )


def training_flops(flops: Flops, recompute: bool) -> int:
    """Of forward and backward of one pair: 3 × forward; with activation checkpointing the blocks run once more."""
    return 3 * flops.forward + (flops.matrices + flops.attention if recompute else 0)


def counted_flops(forward: Callable[[], object]) -> int:
    """What torch itself counts while ``forward`` runs, on whatever device: matrix products and convolutions."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops()


def dvae_loss(model: nn.Module, image_size: int) -> torch.Tensor:
    """The objective of one picture on the meta device: forward pass only, no value."""
    from dalle.models.likelihood import gumbel_softmax, kl_to_uniform, logit_laplace

    images = torch.empty(1, 3, image_size, image_size, device="meta")
    logits = model.logits(images)
    mu, log_scale = model.decoder(gumbel_softmax(logits, 1.0, torch.Generator()))
    return logit_laplace(images, mu, log_scale).mean() + kl_to_uniform(logits)

"""Whether a candidate's logits are its own to the last bit, whoever is computed beside it.

Logits can depend, in the last digits, on how many rows are multiplied together and on which of them is one's own. So
candidates are computed in tiles, TILE neighbours of one caption in a fixed order, and before a decoder of many tiles is
used it is made sure that a tile in it comes out as it does alone. So it does on CPUs. Where it does not (a GPU
takes other kernels for other sizes) it must at least not depend on its place: then all batches have one and the same
shape, and ``sampling.rows`` becomes a part of what a candidate is. Where even this fails, tiles are computed alone.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dalle.sampling.decode import Decoder
from dalle.sampling.slots import TILE


@torch.inference_mode()
def comes_out_as_alone(decoder: Decoder) -> bool:
    """Whether the first and the last tile of a decoder's rows have the bits that each has alone."""
    text, codes = _chance_input(decoder)
    together, lone = _logits_of(decoder, text, codes), Decoder(decoder.model, 1, TILE)
    ends = [(0, slice(0, TILE)), (decoder.captions - 1, slice(codes.shape[1] - TILE, codes.shape[1]))]
    return all(
        torch.equal(_logits_of(lone, text[[caption]], codes[:, tile]), together[:, tile]) for caption, tile in ends
    )


@torch.inference_mode()
def place_is_nothing(decoder: Decoder) -> bool:
    """Whether every slot of a decoder has the same bits when the order of the slots is turned round."""
    text, codes = _chance_input(decoder)
    there = _logits_of(decoder, text, codes).unflatten(1, (decoder.captions, -1))
    back = _logits_of(decoder, text.flip(0), codes.unflatten(1, (decoder.captions, -1)).flip(1).flatten(1))
    return torch.equal(back.unflatten(1, (decoder.captions, -1)).flip(1), there)


def _chance_input(decoder: Decoder) -> tuple[Int64[Tensor, "captions text"], Int64[Tensor, "cells all_rows"]]:
    """Captions and the codes of some cells; products of matrices have the same sizes at every other cell."""
    shape, generator = decoder.model.shape, torch.Generator().manual_seed(0)
    text = torch.randint(shape.text_vocab, (decoder.captions, shape.text_context), generator=generator)
    size = min(4, shape.cells), decoder.captions * decoder.rows
    return text, torch.randint(shape.codes, size, generator=generator)


def _logits_of(
    decoder: Decoder, text: Int64[Tensor, "captions text"], codes: Int64[Tensor, "cells all_rows"]
) -> Float[Tensor, "cells all_rows classes"]:
    """The logits of the cells, given those before."""
    decoder.prefill(text.to(decoder.device))
    logits = []
    for cell, these in enumerate(codes.to(decoder.device)):
        logits.append(decoder.logits().clone())
        decoder.put(cell, these)
    return torch.stack(logits)

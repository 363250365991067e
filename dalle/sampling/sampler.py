"""Draws candidates of captions, many at a time, each of them a function of its name alone.

Candidate k of a caption owns one row of uniforms, which follows from its name. Its logits could still depend, in the
last digits, on how many rows are multiplied together. So candidates are computed in tiles, TILE neighbours of one
caption in a fixed order, and before a batch of many tiles is used it is made sure that a tile in it comes out as it
does alone. Where it does not, tiles stay alone: slower, and the same.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt16
from torch import Tensor

from dalle import config
from dalle.models.transformer import Shape, Transformer
from dalle.sampling.decode import Decoder
from dalle.sampling.draw import draw_token, log_likelihood, probabilities
from dalle.seeding import seed_for, uniforms

LOG = logging.getLogger(__name__)
OnTokens = Callable[[int], None]
TILE = 8  # candidates; few enough that a lone one wastes little, enough that they cost little more than one


@dataclass(frozen=True)
class Prompt:
    """A caption's tokens, and what its candidates are called: number k is (\\*name, k), e.g. (seed, suite, id, k)."""

    name: tuple[str | int, ...]
    text: Int64[np.ndarray, " text"]


@dataclass(frozen=True)
class Drawn:
    """Candidates of one prompt. ``log_likelihood`` is that of the drawn codes (not of given ones) under the model
    itself: untempered, untruncated, unguided; nats."""

    prompt: Prompt
    candidates: Int64[np.ndarray, " n"]
    seeds: Int64[np.ndarray, " n"]
    codes: UInt16[np.ndarray, "n cells"]
    log_likelihood: Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Batch:
    """What is decoded together: of each of the ``prompts`` (numbers in a list) the ``candidates``, whole tiles."""

    prompts: range
    candidates: range


def batches(num_prompts: int, candidates: range, rows: int) -> list[Batch]:
    """Batches of one shape, at most ``rows`` rows (or one tile), that cover ``candidates`` of every prompt, in order.

    The last may reach beyond the prompts, tiles beyond the candidates.
    """
    first, end = candidates.start // TILE, -(-candidates.stop // TILE)
    tiles = _share(end - first, max(1, rows // TILE))
    prompts = _share(num_prompts, max(1, rows // (TILE * tiles)))
    return [
        Batch(range(prompt, prompt + prompts), range(tile * TILE, (tile + tiles) * TILE))
        for prompt in range(0, num_prompts, prompts)
        for tile in range(first, end, tiles)
    ]


def _share(total: int, most: int) -> int:
    """What each part has if ``total`` is cut into as few equal parts of at most ``most`` as can be, the last filled
    up."""
    parts = max(1, -(-total // most))
    return max(1, -(-total // parts))


class Sampler:
    """Draws the ``candidates`` of each of the ``prompts``, batch by batch.

    ``given`` are the codes of the first cells: they stay and the rest is drawn (the paper's image-to-image, §3.3). With
    ``settings.guidance`` g the logits are empty + g·(captioned − empty), where ``empty`` is the text of the empty
    caption. Raises ValueError for given codes that the model does not have, or that leave nothing to draw.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Prompt],
        candidates: range,
        settings: config.Sampling,
        given: Int64[Tensor, " given"] | None = None,
        empty: Int64[np.ndarray, " text"] | None = None,
    ):
        assert (empty is None) == (settings.guidance == 1)
        self.model, self.prompts, self.candidates, self.settings = model, prompts, candidates, settings
        self.given = torch.empty(0, dtype=torch.int64) if given is None else given
        _check_given(self.given, model.shape)
        self.empty = empty
        self.batches = batches(len(prompts), candidates, settings.rows)
        if self.batches:
            self.decoder = self._make_decoder()
            if not rows_agree(self.decoder):
                LOG.warning("here a candidate's bits depend on how many are computed together: tiles are drawn alone")
                self.batches = batches(len(prompts), candidates, TILE)
                self.decoder = self._make_decoder()

    def tokens(self, batch: Batch) -> int:
        """How many codes a batch draws of those that are wanted."""
        wanted = sum(k in self.candidates for k in batch.candidates)
        return len(self._own(batch)) * wanted * (self.model.shape.cells - len(self.given))

    @torch.inference_mode()
    def draw(self, batch: Batch, on_tokens: OnTokens = lambda num: None) -> list[Drawn]:
        """What is wanted of a batch, prompt by prompt. ``on_tokens`` is told with each cell how many more are drawn."""
        prompts = [self.prompts[min(number, len(self.prompts) - 1)] for number in batch.prompts]
        seeds = np.array([[seed_for(*prompt.name, k) for k in batch.candidates] for prompt in prompts])
        wanted = np.array([k in self.candidates for k in batch.candidates])
        at_once = len(self._own(batch)) * int(wanted.sum())
        codes, nats = self._decode(np.stack([prompt.text for prompt in prompts]), seeds, lambda: on_tokens(at_once))
        numbers = np.array(batch.candidates)[wanted]
        return [
            Drawn(prompts[i], numbers, seeds[i, wanted], codes[i, wanted], nats[i, wanted]) for i in self._own(batch)
        ]

    def _own(self, batch: Batch) -> range:
        """The places in a batch that no prompt fills up a second time."""
        return range(min(len(batch.prompts), len(self.prompts) - batch.prompts.start))

    def _make_decoder(self) -> Decoder:
        batch, sides = self.batches[0], 1 if self.empty is None else 2
        return Decoder(self.model, sides * len(batch.prompts), len(batch.candidates))

    def _decode(
        self,
        text: Int64[np.ndarray, "prompts text"],
        seeds: Int64[np.ndarray, "prompts n"],
        on_cell: Callable[[], None],
    ) -> tuple[UInt16[np.ndarray, "prompts n cells"], Float64[np.ndarray, "prompts n"]]:
        """The codes that the uniforms of ``seeds`` draw, and their log-likelihood."""
        cells, device = self.model.shape.cells, self.decoder.device
        chance = torch.from_numpy(np.stack([uniforms(int(seed), cells) for seed in seeds.flat], axis=1)).to(device)
        if self.empty is not None:
            text = np.concatenate([text, np.broadcast_to(self.empty, text.shape)])
        sides = len(text) // len(seeds)
        codes = torch.empty(cells, sides, seeds.size, dtype=torch.int64, device=device)
        codes[: len(self.given)] = self.given[:, None, None]
        nats = torch.zeros(seeds.size, dtype=torch.float64, device=device)
        self.decoder.prefill(torch.from_numpy(text).to(device))
        for cell in range(cells):
            if cell > 0:
                self.decoder.put(cell - 1, codes[cell - 1].flatten())
            if cell >= len(self.given):
                tokens, likelihood = self._choose(self.decoder.logits().unflatten(0, (sides, -1)), chance[cell])
                codes[cell], nats = tokens, nats + likelihood
                on_cell()
        drawn = codes[:, 0].T.reshape(*seeds.shape, cells)
        return drawn.cpu().numpy().astype(np.uint16), nats.view(seeds.shape).cpu().numpy()

    def _choose(
        self, logits: Float[Tensor, "sides rows codes"], chance: Float64[Tensor, " rows"]
    ) -> tuple[Int64[Tensor, " rows"], Float64[Tensor, " rows"]]:
        """A token for each row, and its log-likelihood under the captioned side."""
        settings, own = self.settings, logits[0]
        guided = own if self.empty is None else torch.lerp(logits[1], own, settings.guidance)
        likely = probabilities(guided, settings.temperature, settings.top_k, settings.top_p)
        tokens = draw_token(likely, chance)
        plain = likely if settings.is_plain else own.softmax(-1)
        return tokens, log_likelihood(own, plain, tokens)


def _check_given(given: Int64[Tensor, " given"], shape: Shape) -> None:
    if len(given) >= shape.cells or not ((given >= 0) & (given < shape.codes)).all():
        raise ValueError(
            f"given: {len(given)} codes from {given.min()} to {given.max()}; allowed are fewer than {shape.cells} "
            f"from 0 to {shape.codes - 1}"
        )


@torch.inference_mode()
def rows_agree(decoder: Decoder) -> bool:
    """Whether the first and the last tile of a decoder's rows come out as each would alone, to the last bit."""
    shape, generator = decoder.model.shape, torch.Generator().manual_seed(0)
    text = torch.randint(shape.text_vocab, (decoder.captions, shape.text_context), generator=generator)
    num_rows, cells = decoder.captions * decoder.rows, min(4, shape.cells)  # one cell has the sizes of any other
    codes = torch.randint(shape.codes, (cells, num_rows), generator=generator)
    together, lone = _logits_of(decoder, text, codes), Decoder(decoder.model, 1, TILE)
    ends = {0: slice(0, TILE), decoder.captions - 1: slice(num_rows - TILE, num_rows)}
    return all(
        torch.equal(_logits_of(lone, text[[caption]], codes[:, tile]), together[:, tile])
        for caption, tile in ends.items()
    )


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

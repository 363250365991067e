"""Draws candidates of captions, many at a time, each of them a function of its name alone.

Candidate k of a caption owns one row of uniforms, which follows from its name. That its logits are its own, too, to the
last bit, is seen to by :mod:`dalle.sampling.company`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt16
from torch import Tensor

from dalle.config.sampling import Sampling
from dalle.models.transformer import Shape, Transformer
from dalle.sampling.company import comes_out_as_alone, place_is_nothing
from dalle.sampling.decode import Decoder
from dalle.sampling.draw import draw_token, log_likelihood, probabilities
from dalle.sampling.slots import TILE, Slot, share, slots
from dalle.seeding import seed_for, uniforms

LOG = logging.getLogger(__name__)
OnTokens = Callable[[int], None]


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
        settings: Sampling,
        given: Int64[Tensor, " given"] | None = None,
        empty: Int64[np.ndarray, " text"] | None = None,
    ):
        assert (empty is None) == (settings.guidance == 1)
        self.model, self.prompts, self.candidates, self.settings = model, prompts, candidates, settings
        self.given = torch.empty(0, dtype=torch.int64) if given is None else given
        _check_given(self.given, model.shape)
        self.empty = empty
        most = max(1, settings.rows // TILE)
        wide, single = (slots(len(prompts), candidates, width) for width in (most, 1))
        self.batches: list[list[Slot]] = []
        if wide:
            per_slot = len(wide[0].candidates) // TILE
            ways = [(wide, share(len(wide), most // per_slot), comes_out_as_alone), (single, most, place_is_nothing)]
            self.decoder, self.batches = self._first_that_agrees(ways)

    def _first_that_agrees(
        self, ways: list[tuple[list[Slot], int, Callable[[Decoder], bool]]]
    ) -> tuple[Decoder, list[list[Slot]]]:
        """A decoder and its batches: of the slots and numbers of slots a batch, the first that passes its check."""
        for cut, num, agrees in ways:
            decoder = self._decoder_for(cut, num)
            if agrees(decoder):
                return decoder, [cut[start : start + num] for start in range(0, len(cut), num)]
            decoder = None  # before the next one takes its memory
        LOG.warning("here a candidate's bits depend on its neighbours: tiles of %d are drawn alone", TILE)
        return self._decoder_for(cut, 1), [[slot] for slot in cut]

    def _decoder_for(self, cut: list[Slot], num: int) -> Decoder:
        return Decoder(self.model, num * (1 if self.empty is None else 2), len(cut[0].candidates))

    def tokens(self, batch: list[Slot]) -> int:
        """How many codes a batch draws of those that are wanted."""
        return sum(map(len, map(self._wanted, batch))) * (self.model.shape.cells - len(self.given))

    def _wanted(self, slot: Slot) -> list[int]:
        """The places in a slot of candidates that are asked for."""
        return [place for place, k in enumerate(slot.candidates) if k in self.candidates]

    @torch.inference_mode()
    def draw(self, batch: list[Slot], on_tokens: OnTokens = lambda num: None) -> list[Drawn]:
        """What is wanted of a batch, slot by slot. ``on_tokens`` is told with each cell how many more are drawn."""
        num = self.decoder.captions // (1 if self.empty is None else 2)
        filled = [*batch, *batch[-1:] * (num - len(batch))]  # the last batch has the shape of the others
        prompts = [self.prompts[slot.prompt] for slot in filled]
        names = [[(*prompt.name, k) for k in slot.candidates] for prompt, slot in zip(prompts, filled, strict=True)]
        seeds = np.array([[seed_for(*name) for name in row] for row in names])
        at_once = sum(map(len, map(self._wanted, batch)))
        codes, nats = self._decode(np.stack([prompt.text for prompt in prompts]), seeds, lambda: on_tokens(at_once))
        return [
            Drawn(prompts[i], np.array(slot.candidates)[own], seeds[i, own], codes[i, own], nats[i, own])
            for i, slot in enumerate(batch)
            if (own := self._wanted(slot))
        ]

    def _decode(
        self,
        text: Int64[np.ndarray, "slots text"],
        seeds: Int64[np.ndarray, "slots n"],
        on_cell: Callable[[], None],
    ) -> tuple[UInt16[np.ndarray, "slots n cells"], Float64[np.ndarray, "slots n"]]:
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

"""From logits to a token: temperature, top-k, top-p, and the cumulative distribution inverted at a given uniform."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def draw_token(
    logits: Float[Tensor, "rows classes"],
    uniforms: Float[Tensor, " rows"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Int64[Tensor, " rows"]:
    """The token of each row at which the cumulative probability first exceeds its uniform, a float64 in [0, 1).

    Over uniforms the tokens are distributed as ``probabilities`` says; a token of probability 0 is never drawn.
    """
    cumulative = probabilities(logits, temperature, top_k, top_p).cumsum(-1)
    # u ≤ 1 − 2⁻⁵³, so in float64 u · total is below the total and the token found is one of the classes
    at = uniforms[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True).squeeze(-1)


def probabilities(
    logits: Float[Tensor, "rows classes"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "rows classes"]:
    """Probabilities in float64, not renormalised after truncation.

    ``top_k`` keeps the k likeliest tokens; ``top_p`` the fewest of the likeliest whose probabilities (before any
    truncation) sum to at least p. Of equally likely tokens the one with the smaller number goes first.
    """
    likely = (logits.double() / temperature).softmax(-1)
    if top_k is None and top_p is None:
        return likely
    ranked, order = likely.sort(dim=-1, descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if top_k is not None:
        keep[:, top_k:] = False
    if top_p is not None:
        keep &= ranked.cumsum(-1) - ranked < top_p
    return likely * torch.zeros_like(keep).scatter(-1, order, keep)

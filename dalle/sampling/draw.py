"""From logits to a token: temperature, top-k, top-p, and the cumulative distribution inverted at a given uniform."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def draw_token(likely: Float[Tensor, "rows classes"], uniforms: Float[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    """The token of each row at which the cumulative probability first exceeds its uniform, a float64 in [0, 1).

    ``likely`` need not sum to 1. Over uniforms the tokens are distributed as it says; a token of probability 0 is never
    drawn. The sums are float64: in float32 thousands of unlikely tokens would be lost.
    """
    cumulative = likely.double()
    torch.cumsum(cumulative, -1, out=cumulative)  # in place; from float32 it would take three times as long
    # u ≤ 1 − 2⁻⁵³, so in float64 u · total is below the total and the token found is one of the classes
    at = uniforms[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True).squeeze(-1)


def probabilities(
    logits: Float[Tensor, "rows classes"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "rows classes"]:
    """What tokens are drawn from: the softmax, in the precision of the logits, not renormalised after truncation.

    ``top_k`` keeps the k likeliest tokens; ``top_p`` the fewest of the likeliest whose probabilities (before any
    truncation) sum to at least p. Of equally likely tokens the one with the smaller number goes first.
    """
    likely = (logits if temperature == 1 else logits / temperature).softmax(-1)
    if top_k is None and top_p is None:
        return likely
    ranked, order = likely.sort(dim=-1, descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if top_k is not None:
        keep[:, top_k:] = False
    if top_p is not None:
        ranked = ranked.double()
        keep &= ranked.cumsum(-1) - ranked < top_p
    return likely * torch.zeros_like(keep).scatter(-1, order, keep)


def log_likelihood(
    logits: Float[Tensor, "rows classes"], likely: Float[Tensor, "rows classes"], tokens: Int64[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """Of each row's token under ``likely``, the plain softmax of ``logits``: nats, float64.

    The normaliser is read off the likeliest token: the drawn one may be too unlikely to have a logarithm.
    """
    normaliser = logits.amax(-1).double() - likely.amax(-1).double().log()
    return logits.gather(-1, tokens[:, None])[:, 0].double() - normaliser

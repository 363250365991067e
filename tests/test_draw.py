"""Tokens from logits: closed forms, frequencies, and the edges of the unit interval."""

import pytest
import torch

from dalle.sampling.draw import draw_token, log_likelihood, probabilities

HALVES = torch.tensor([[0.5, 0.25, 0.125, 0.125]])


def drawn(likely, uniforms):
    at = torch.tensor(uniforms, dtype=torch.float64)
    return draw_token(likely.expand(len(at), -1), at).tolist()


def test_the_uniform_picks_the_interval_it_falls_into():
    assert drawn(HALVES, [0, 0.499, 0.501, 0.749, 0.751, 0.874, 0.876, 1 - 2**-53]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_probabilities_need_not_sum_to_one():
    assert drawn(HALVES / 1000, [0, 0.499, 0.501, 0.751, 0.876]) == [0, 0, 1, 2, 3]


def test_a_thousand_unlikely_tokens_are_not_lost():
    """Each is too small to change a sum of float32 that has reached 1; together they have a ten-thousandth."""
    likely = torch.cat([torch.ones(1, 1), torch.full((1, 10_000), 1e-8)], dim=1)
    assert drawn(likely, [0.9998, 0.99995]) == [0, pytest.approx(5000, abs=2)]


def test_the_slow_inverse_draws_the_same():
    """Walk up the distribution until the uniform is passed."""
    generator = torch.Generator().manual_seed(0)
    likely = (3 * torch.randn(200, 40, generator=generator)).softmax(-1)
    uniforms = torch.rand(200, generator=generator, dtype=torch.float64)
    walked = []
    for row, at in zip(likely.double(), uniforms.tolist(), strict=True):
        passed, token = float(row[0]), 0
        while passed <= at * float(row.sum()):
            token += 1
            passed += float(row[token])
        walked.append(token)
    assert draw_token(likely, uniforms).tolist() == walked


def test_temperature_divides_the_logits():
    sharper = HALVES**2
    torch.testing.assert_close(probabilities(HALVES.log(), temperature=0.5), sharper / sharper.sum())


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 1}, [0]),
        ({"top_k": 3}, [0, 1, 2]),  # of two equally likely tokens the first
        ({"top_k": 99}, [0, 1, 2, 3]),
        ({"top_p": 0.4}, [0]),
        ({"top_p": 0.6}, [0, 1]),
        ({"top_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 1, "top_p": 0.6}, [0]),
    ],
)
def test_truncation_keeps_the_likeliest_at_their_own_places(settings, kept):
    order = torch.tensor([2, 0, 3, 1])  # the likeliest token is not the first
    likely = probabilities(HALVES.log(), **settings)[0]
    moved = probabilities(HALVES[:, order].log(), **settings)[0]
    assert likely.nonzero().flatten().tolist() == kept
    if settings != {"top_k": 3}:
        torch.testing.assert_close(moved, likely[order])
    torch.testing.assert_close(likely[kept], HALVES[0, kept])


def test_frequencies_are_the_probabilities():
    """Chi-square of 100,000 draws with a fixed seed, 7 degrees of freedom: 24.3 is exceeded once in a thousand."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 8, generator=generator)
    uniforms = torch.rand(100_000, generator=generator, dtype=torch.float64)
    likely = probabilities(logits)
    counts = draw_token(likely.expand(100_000, -1), uniforms).bincount(minlength=8)
    expected = 100_000 * likely[0]
    assert ((counts - expected) ** 2 / expected).sum() < 24.3


@pytest.mark.parametrize("settings", [{}, {"top_k": 40}, {"top_p": 0.9}])
def test_an_impossible_token_is_never_drawn_even_at_the_edges(settings):
    logits = torch.randn(500, 100, generator=torch.Generator().manual_seed(0))
    logits[:, [0, 50, 99]] = -torch.inf
    likely = probabilities(logits, **settings)
    for edge in (0.0, 1 - 2**-53):
        tokens = draw_token(likely, torch.full((500,), edge, dtype=torch.float64))
        assert (likely.gather(1, tokens[:, None]) > 0).all()


def test_the_log_likelihood_is_the_log_softmaxs_even_of_a_token_too_unlikely_for_float32():
    logits = torch.randn(100, 50, generator=torch.Generator().manual_seed(0))
    logits[:, 7] = -200
    tokens = torch.arange(100) % 50
    expected = logits.double().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    torch.testing.assert_close(log_likelihood(logits, logits.softmax(-1), tokens), expected, rtol=0, atol=1e-5)

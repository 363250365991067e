"""Inception Score: closed forms, a sum by hand, the definition written out; for resamples, repeated rows."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from eval.metrics.inception_score import ORDER_SEED, inception_score, inception_score_replicates

SORTED = np.repeat(50 * np.eye(10, dtype=np.float32), 100, axis=0)  # 100 sure pictures of each of 10 kinds


def part_score(logits):
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    log_marginal = logsumexp(log_p, axis=0) - np.log(len(logits))
    return np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean())


def parts(rows, splits):
    return [rows[i * len(rows) // splits : (i + 1) * len(rows) // splits] for i in range(splits)]


def test_pictures_of_no_kind_score_1():
    assert inception_score(np.zeros((20, 7), dtype=np.float32), 4, shuffle_seed=2020) == pytest.approx((1, 0))


def test_sure_pictures_of_five_kinds_score_5():
    logits = np.tile(1000 * np.eye(5, dtype=np.float32), (4, 1))
    assert inception_score(logits, splits=1, shuffle_seed=None) == pytest.approx((5, 0))


def test_two_pictures_of_two_kinds_by_hand():
    """p = (0.8, 0.2) and (0.2, 0.8) around (0.5, 0.5): KL = 0.8 ln 1.6 + 0.2 ln 0.4 for both."""
    logits = np.log([[0.8, 0.2], [0.2, 0.8]])
    expected = 1.6**0.8 * 0.4**0.2
    assert expected == pytest.approx(1.2126, abs=5e-5)
    assert inception_score(logits, splits=1, shuffle_seed=None) == pytest.approx((expected, 0))


@pytest.mark.parametrize("seed", [2020, 7, None])
def test_it_is_the_definition_over_parts_shuffled_or_not(seed):
    logits = np.random.default_rng(0).normal(size=(23, 6)).astype(np.float32) * 3
    order = np.arange(23) if seed is None else np.random.RandomState(seed).permutation(23)
    scores = [part_score(part) for part in parts(logits[order], 4)]
    assert inception_score(logits, 4, seed) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9)


def test_pictures_sorted_by_kind_score_1_unless_they_are_shuffled():
    assert inception_score(SORTED, splits=10, shuffle_seed=None)[0] == pytest.approx(1)
    assert inception_score(SORTED, splits=10, shuffle_seed=2020)[0] > 9


def test_a_resample_is_the_score_of_the_repeated_rows():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(23, 6)).astype(np.float32) * 3
    counts = rng.multinomial(23, np.full(23, 1 / 23), size=3)
    for number, found in enumerate(inception_score_replicates(logits, 4, counts)):
        order = np.random.default_rng([ORDER_SEED, number]).permutation(23)
        rows = np.repeat(logits, counts[number], axis=0)[order]
        assert found == pytest.approx(np.mean([part_score(part) for part in parts(rows, 4)]), rel=1e-9)


def test_resamples_of_sorted_pictures_are_mixed_too():
    counts = np.random.default_rng(0).multinomial(1000, np.full(1000, 1e-3), size=3)
    assert inception_score_replicates(SORTED, 10, counts).min() > 9


def test_fewer_pictures_than_splits_are_refused():
    logits = np.zeros((3, 5), dtype=np.float32)
    with pytest.raises(ValueError, match="given 3, 10 splits"):
        inception_score(logits, splits=10, shuffle_seed=None)
    with pytest.raises(ValueError, match="given 3, 10 splits"):
        inception_score_replicates(logits, 10, np.ones((2, 3), int))

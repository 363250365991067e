"""Inception Score: closed forms and the definition written out."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from eval.metrics.inception_score import inception_score


def test_pictures_of_no_kind_score_1():
    assert inception_score(np.zeros((20, 7), dtype=np.float32), splits=4) == pytest.approx((1, 0))


def test_sure_pictures_of_five_kinds_score_5():
    logits = np.tile(1000 * np.eye(5, dtype=np.float32), (4, 1))
    assert inception_score(logits, splits=1) == pytest.approx((5, 0))


def test_it_is_the_definition_over_shuffled_parts():
    logits = np.random.default_rng(0).normal(size=(23, 6)).astype(np.float32) * 3
    shuffled = logits[np.random.RandomState(2020).permutation(23)].astype(np.float64)
    parts = [shuffled[i * 23 // 4 : (i + 1) * 23 // 4] for i in range(4)]
    scores = []
    for part in parts:
        log_p = log_softmax(part, axis=1)
        log_marginal = logsumexp(log_p, axis=0) - np.log(len(part))
        scores.append(np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean()))
    assert inception_score(logits, splits=4) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9)


def test_pictures_sorted_by_kind_score_as_well_as_mixed_ones():
    logits = np.repeat(50 * np.eye(10, dtype=np.float32), 100, axis=0)
    mean, _ = inception_score(logits, splits=10)
    assert mean > 9


def test_fewer_pictures_than_splits_are_refused():
    with pytest.raises(ValueError, match="given 3, 10 splits"):
        inception_score(np.zeros((3, 5), dtype=np.float32), splits=10)

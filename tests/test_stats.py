"""Wilson's interval against its formula; the bootstrap against repeated rows, and against sets drawn anew."""

import numpy as np
import pytest
from scipy.stats import norm

from eval.metrics.frechet import FrechetReference, distance, replicates
from eval.metrics.leave_one_out import without_each
from eval.stats import draw_counts, interval, jackknife_replicates, mean_replicates, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 12), (7, 20), (128, 128), (115, 256)])
def test_wilson_is_where_the_share_is_two_deviations_from_the_observed_one(successes, trials):
    observed, z = successes / trials, norm.ppf(0.975)
    for bound in wilson(successes, trials):
        assert 0 <= bound <= 1
        assert (bound - observed) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / trials, abs=1e-12)


def test_wilson_holds_the_share_and_mirrors():
    low, high = wilson(30, 100)
    assert low < 0.3 < high
    assert wilson(70, 100) == pytest.approx((1 - high, 1 - low))


def test_every_resample_draws_n_prompts_each_as_often_as_any_other():
    counts = draw_counts(20, 5000, seed=1)
    assert counts.dtype == np.int64
    assert (counts.sum(axis=1) == 20).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.07)
    assert counts.var() == pytest.approx(1 - 1 / 20, rel=0.03)


def test_draws_follow_the_seed():
    assert np.array_equal(draw_counts(9, 4, seed=1), draw_counts(9, 4, seed=1))
    assert not np.array_equal(draw_counts(9, 4, seed=1), draw_counts(9, 4, seed=2))


def test_a_mean_is_resampled_as_if_rows_were_repeated():
    values = np.random.default_rng(0).normal(size=13).astype(np.float32)
    counts = draw_counts(13, 5, seed=0)
    expected = [np.repeat(values.astype(np.float64), times).mean() for times in counts]
    assert mean_replicates(values, counts) == pytest.approx(expected, rel=1e-12)


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    low, high = interval(values.mean(), mean_replicates(values, draw_counts(400, 4000, seed=0)))
    error = values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error)


def test_the_interval_does_not_follow_a_shift_of_the_replicates():
    spread = np.random.default_rng(0).normal(size=100)
    assert interval(1.0, spread + 50) == pytest.approx(interval(1.0, spread))


def test_less_confidence_is_a_narrower_interval():
    spread = np.linspace(-1, 1, 201)
    assert interval(5.0, spread, confidence=0.5) == pytest.approx((4.5, 5.5))
    assert interval(5.0, spread, confidence=0.9) == pytest.approx((4.1, 5.9))


def test_it_holds_the_expected_fid_where_the_percentiles_of_the_resamples_do_not():
    """150 sets of 64 pictures, 16 dimensions: what share of the intervals holds their mean FID?"""
    rng = np.random.default_rng(0)
    reference = FrechetReference.of(rng.normal(size=(500, 16)) * np.linspace(2, 0.2, 16))
    values, intervals, percentiles = [], [], []
    for seed in range(150):
        pictures = reference.project(rng.normal(size=(64, 16)) * np.linspace(1.2, 0.5, 16))
        resampled = replicates(pictures, reference, draw_counts(64, 100, seed))
        values.append(distance(pictures, reference))
        intervals.append(interval(values[-1], resampled))
        percentiles.append(np.quantile(resampled, [0.025, 0.975]))
    assert 0.9 < _share_that_hold(np.mean(values), intervals) < 0.995
    assert _share_that_hold(np.mean(values), percentiles) < 0.5


def test_with_more_dimensions_than_pictures_the_jackknife_holds_it_too_and_is_narrower():
    """150 sets of 40 pictures in 80 dimensions."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, 81) ** -0.5
    reference = FrechetReference.of(rng.normal(size=(50, 80)) * spread)
    values, intervals, resampled = [], [], []
    for seed in range(150):
        pictures, counts = reference.project(0.3 + rng.normal(size=(40, 80)) * spread), draw_counts(40, 100, seed)
        values.append(distance(pictures, reference))
        others = without_each(pictures, reference)
        intervals.append(interval(values[-1], jackknife_replicates(values[-1], others, counts)))
        resampled.append(interval(values[-1], replicates(pictures, reference, counts)))
    assert 0.9 < _share_that_hold(np.mean(values), intervals) < 0.995
    assert np.diff(intervals).mean() < 0.85 * np.diff(resampled).mean()


def test_the_jackknife_of_a_mean_is_the_bootstrap_of_a_mean():
    values, counts = np.random.default_rng(0).normal(size=30), draw_counts(30, 20, seed=1)
    others = (values.sum() - values) / 29
    expected = mean_replicates(values, counts)
    assert jackknife_replicates(values.mean(), others, counts) == pytest.approx(expected, rel=1e-9)


def test_an_interval_holds_its_value_where_nearly_all_resamples_agree():
    assert interval(1.0, np.array([1.0] * 99 + [0.5]))[1] == pytest.approx(1.005)
    assert interval(1.0, np.array([1.0] * 99 + [0.5]))[0] == 1.0


def _share_that_hold(value, intervals):
    return np.mean([low <= value <= high for low, high in intervals])

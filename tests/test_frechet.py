"""FID: closed forms, invariances, torch-fidelity and SciPy as references, repeated rows as the oracle of resamples."""

import numpy as np
import pytest

from eval.metrics.frechet import FrechetReference, distance, fid_infinity, frechet_distance, replicates

FEW_AND_MANY = pytest.mark.parametrize("n", [30, 200], ids=["fewer pictures than dimensions", "more pictures"])


def features(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


def with_moments(n, mean, covariance, seed=0):
    """Rows whose mean and covariance are exactly these."""
    rows = np.random.default_rng(seed).normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T)), rows.T)
    return (np.linalg.cholesky(covariance) @ white).T + mean


@FEW_AND_MANY
def test_a_shift_costs_its_square(n):
    x = features(n, 64)
    shift = np.linspace(-1, 1, 64)
    assert frechet_distance(x + shift, x) == pytest.approx(shift @ shift, rel=1e-6)


@FEW_AND_MANY
def test_a_stretch_about_the_mean_costs_its_variance(n):
    x = features(n, 64)
    stretched = x.mean(axis=0) + 3 * (x - x.mean(axis=0))
    assert frechet_distance(stretched, x) == pytest.approx((3 - 1) ** 2 * x.var(axis=0, ddof=1).sum(), rel=1e-6)


@FEW_AND_MANY
def test_equal_sets_are_0_apart_but_for_rounding(n):
    x = features(n, 64)
    assert frechet_distance(x[::-1], x) == pytest.approx(0, abs=1e-11 * x.var(axis=0).sum())


def test_in_one_dimension_it_is_the_squared_distance_of_means_and_deviations():
    x, y = features(50, 1), 2 * features(40, 1, seed=1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_two_gaussians_in_the_plane_have_a_closed_form():
    """There tr √M = √(tr M + 2 √det M), also for covariances that do not commute."""
    one, other = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[0.5, -0.2], [-0.2, 3.0]])
    product = one @ other
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = 1 + 4 + np.trace(one) + np.trace(other) - 2 * root
    found = frechet_distance(with_moments(50, [1, 0], one), with_moments(70, [0, 2], other, seed=1))
    assert found == pytest.approx(expected, rel=1e-12)


def torch_fidelity(x, y):
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(side).double()) for side in (x, y)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def scipy_sqrtm(x, y):
    from scipy.linalg import sqrtm

    one, other = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return shift @ shift + np.trace(one) + np.trace(other) - 2 * np.trace(sqrtm(one @ other)).real


@pytest.mark.parametrize("route", [torch_fidelity, scipy_sqrtm])
def test_the_usual_routes_agree_to_a_millionth_where_covariances_are_regular(route):
    x, y = features(300, 40), features(260, 40, seed=1)
    assert frechet_distance(x, y) == pytest.approx(route(x, y), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(60, 50), (60, 400), (400, 50)])
def test_torch_fidelity_agrees_to_a_millionth_with_fewer_pictures_than_dimensions(n, m):
    x, y = features(n, 160), features(m, 160, seed=1)
    assert frechet_distance(x, y) == pytest.approx(torch_fidelity(x, y), rel=1e-6)


def test_float32_features_are_taken_in_double_precision():
    x, y = features(300, 40).astype(np.float32), features(260, 40, seed=1).astype(np.float32)
    assert frechet_distance(x, y) == pytest.approx(torch_fidelity(x, y), rel=1e-6)


def test_it_knows_neither_sides_nor_order_nor_rotation():
    x, y = features(40, 64), features(30, 64, seed=1)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(64, 64)))
    expected = frechet_distance(x, y)
    for a, b in [(y, x), (x[::-1], y), (x @ rotation, y @ rotation)]:
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fewer_pictures_of_the_same_kind_seem_farther_away():
    x = features(400, 64)
    assert frechet_distance(x[:20], x[200:]) > frechet_distance(x[:100], x[200:]) > frechet_distance(x[:200], x[200:])


@pytest.mark.parametrize("m", [20, 90], ids=["few", "many"])
def test_the_references_factor_is_a_root_of_its_covariance(m):
    y = features(m, 30)
    reference = FrechetReference.of(y)
    assert reference.factor.shape == (30, min(m, 30))
    assert reference.factor @ reference.factor.T == pytest.approx(np.cov(y, rowvar=False), abs=1e-10)
    assert reference.variance == pytest.approx(np.trace(np.cov(y, rowvar=False)))


def test_some_of_the_pictures_are_judged_as_if_they_were_all():
    x, y = features(40, 20), features(30, 20, seed=1)
    reference, rows = FrechetReference.of(y), np.array([3, 1, 1, 17, 30, 8])
    taken = reference.project(x).take(rows)
    assert len(taken) == 6
    assert distance(taken, reference) == pytest.approx(frechet_distance(x[rows], y), rel=1e-10)


@pytest.mark.parametrize(("n", "m", "dim"), [(40, 30, 64), (30, 40, 64), (40, 80, 16), (100, 30, 64)], ids=str)
def test_a_resample_is_the_distance_of_the_repeated_rows(n, m, dim):
    reference = FrechetReference.of(features(m, dim, seed=1))
    pictures = reference.project(features(n, dim))
    counts = np.random.default_rng(2).multinomial(n, np.full(n, 1 / n), size=4)
    expected = [distance(pictures.take(np.repeat(np.arange(n), times)), reference) for times in counts]
    assert replicates(pictures, reference, counts) == pytest.approx(expected, rel=1e-6)


@FEW_AND_MANY
def test_resamples_may_be_of_any_size(n):
    reference = FrechetReference.of(features(90, 64, seed=1))
    pictures = reference.project(features(n, 64))
    counts = np.stack([np.ones(n, int), np.arange(n) < n // 3])
    expected = [distance(pictures, reference), distance(pictures.take(slice(n // 3)), reference)]
    assert replicates(pictures, reference, counts) == pytest.approx(expected, rel=1e-6)


def test_infinity_is_the_intercept_of_the_line_through_smaller_sets():
    n = 200
    reference = FrechetReference.of(features(90, 64, seed=1))
    pictures = reference.project(features(n, 64))
    value, low, high = fid_infinity(pictures, reference, points=8, smallest=n // 3, seed=5)
    sizes = np.linspace(n // 3, n, 8).astype(int)
    orders = np.random.default_rng(5).permuted(np.tile(np.arange(n), (8, 1)), axis=1)
    fids = [
        distance(pictures.take(np.flatnonzero(order < size)), reference)
        for order, size in zip(orders, sizes, strict=True)
    ]
    x = np.stack([np.ones(8), 1 / sizes], axis=1)
    (intercept, _), (residue,), _, _ = np.linalg.lstsq(x, fids)
    reach = 2.4469118 * np.sqrt(residue / 6 * np.linalg.inv(x.T @ x)[0, 0])  # Student's t, 6 degrees of freedom
    assert (value, low, high) == pytest.approx((intercept, intercept - reach, intercept + reach), rel=1e-5)


def test_infinity_is_refused_where_fid_is_no_line():
    reference = FrechetReference.of(features(90, 64, seed=1))
    with pytest.raises(ValueError, match=r"FID∞ of 64 dimensions needs subsets of more pictures than that; .* has 64"):
        fid_infinity(reference.project(features(200, 64)), reference, points=8, smallest=64, seed=5)


def test_infinity_takes_most_of_the_bias_away():
    """Both sets are of one kind; what is left beside noise is the share of the reference's own number of pictures."""
    x = features(2000, 16)
    reference = FrechetReference.of(x[400:])
    pictures = reference.project(x[:400])
    value, _, _ = fid_infinity(pictures, reference, points=15, smallest=None, seed=0)
    assert abs(value) < 0.5 * distance(pictures, reference)


@pytest.mark.parametrize(("points", "smallest"), [(15, 20), (15, 1), (2, 5)])
def test_infinity_refuses_a_line_without_room(points, smallest):
    reference = FrechetReference.of(features(20, 8, seed=1))
    with pytest.raises(ValueError, match=f"up to all 20; given {points} points from {smallest}"):
        fid_infinity(reference.project(features(20, 8)), reference, points, smallest, seed=0)


def test_one_picture_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 pictures, one has no covariance; given 1"):
        frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="at least 2 reference pictures, one has no covariance; given 1"):
        frechet_distance(np.zeros((5, 4)), np.zeros((1, 4)))

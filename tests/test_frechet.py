"""FID: closed forms, invariances, and torch-fidelity as the reference."""

import numpy as np
import pytest

from eval.metrics.frechet import frechet_distance, from_few, from_statistics


def features(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


@pytest.mark.parametrize("n", [30, 200], ids=["fewer pictures than dimensions", "more pictures than dimensions"])
def test_a_shift_costs_its_square(n):
    x = features(n, 64)
    shift = np.linspace(-1, 1, 64)
    assert frechet_distance(x + shift, x) == pytest.approx(shift @ shift, rel=1e-6)


@pytest.mark.parametrize("n", [30, 200], ids=["fewer pictures than dimensions", "more pictures than dimensions"])
def test_a_stretch_about_the_mean_costs_its_variance(n):
    x = features(n, 64)
    stretched = x.mean(axis=0) + 3 * (x - x.mean(axis=0))
    assert frechet_distance(stretched, x) == pytest.approx((3 - 1) ** 2 * x.var(axis=0, ddof=1).sum(), rel=1e-6)


def test_in_one_dimension_it_is_the_squared_distance_of_means_and_deviations():
    x, y = features(50, 1), 2 * features(40, 1, seed=1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert from_few(x, y) == pytest.approx(expected, rel=1e-12)


def test_both_routes_agree_to_a_millionth_where_covariances_are_regular():
    x, y = features(300, 40), features(260, 40, seed=1)
    assert from_few(x, y) == pytest.approx(from_statistics(x, y), rel=1e-6)


def test_both_routes_agree_to_a_millionth_with_fewer_pictures_than_dimensions():
    x, y = features(60, 160), features(50, 160, seed=1)
    assert from_few(x, y) == pytest.approx(from_statistics(x, y), rel=1e-6)


def test_torch_fidelity_itself_gives_the_same_for_float32_features():
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = features(300, 40).astype(np.float32), features(260, 40, seed=1).astype(np.float32)
    statistics = [fid_features_to_statistics(torch.from_numpy(side).double()) for side in (x, y)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    for route in (frechet_distance, from_few, from_statistics):
        assert route(x, y) == pytest.approx(expected, rel=1e-6)


def test_it_knows_neither_sides_nor_order_nor_rotation():
    x, y = features(40, 64), features(30, 64, seed=1)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(64, 64)))
    expected = frechet_distance(x, y)
    for a, b in [(y, x), (x[::-1], y), (x @ rotation, y @ rotation)]:
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fewer_pictures_of_the_same_kind_seem_farther_away():
    x = features(400, 64)
    assert frechet_distance(x[:20], x[200:]) > frechet_distance(x[:100], x[200:]) > frechet_distance(x[:200], x[200:])


def test_one_picture_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 pictures a side; given 1 and 5"):
        frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))

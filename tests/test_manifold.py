"""Precision, recall, density, coverage: torch-fidelity and prdc as references, loops over balls as the oracle."""

import numpy as np
import pytest

from eval.metrics import manifold
from eval.metrics.manifold import ManifoldReference

NAMES = ("precision", "recall", "density", "coverage")


def features(n, seed=0, dim=6, spread=1.0):
    return (spread * np.random.default_rng(seed).normal(size=(n, dim))).astype(np.float32)


SAMPLES, REFERENCE = features(37, spread=0.8), features(45, seed=1)


def measure(samples, reference, **neighbours):
    found = ManifoldReference.of(reference, **{"precision_recall": 3, "density_coverage": 5} | neighbours)
    compared = found.compare(samples)
    return {name: getattr(compared, name)() for name in NAMES}


@pytest.fixture(params=[512, 4], ids=["one stripe", "many stripes"])
def stripes(request, monkeypatch):
    monkeypatch.setattr(manifold, "STRIPE", request.param)


@pytest.mark.usefixtures("stripes")
def test_precision_and_recall_are_torch_fidelitys():
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    sides = [torch.from_numpy(side).double() for side in (SAMPLES, REFERENCE)]
    expected = prc_features_to_metric(*sides, prc_neighborhood=3, verbose=False)
    found = measure(SAMPLES, REFERENCE)
    assert 0 < found["recall"] < found["precision"] < 1
    assert found["precision"] == pytest.approx(expected["precision"])
    assert found["recall"] == pytest.approx(expected["recall"])


@pytest.mark.usefixtures("stripes")
def test_all_four_are_those_of_prdc():
    from prdc import compute_prdc

    expected = compute_prdc(REFERENCE.astype(float), SAMPLES.astype(float), nearest_k=5)
    found = measure(SAMPLES, REFERENCE, precision_recall=5)
    assert found == pytest.approx({name: float(expected[name]) for name in NAMES})
    assert found["coverage"] < 1


def by_balls(samples, present, reference):
    """The four for the samples in ``present`` (numbers, repeated ones too), whose balls are those of the whole set."""
    samples, reference = samples.astype(float), reference.astype(float)

    def radius(point, points, k):
        return sorted(np.linalg.norm(points - point, axis=1))[k]

    def near(point, centre, points, k):
        return np.linalg.norm(point - centre) <= radius(centre, points, k)

    kept = set(present)
    in_ball = [[near(samples[i], y, reference, 5) for y in reference] for i in present]
    return {
        "precision": np.mean([any(near(samples[i], y, reference, 3) for y in reference) for i in present]),
        "recall": np.mean([any(near(y, samples[i], samples, 3) for i in kept) for y in reference]),
        "density": np.sum(in_ball) / 5 / len(present),
        "coverage": np.any(in_ball, axis=0).mean(),
    }


@pytest.mark.usefixtures("stripes")
@pytest.mark.parametrize("name", NAMES)
def test_a_resample_keeps_the_balls_and_loses_the_absent(name):
    x, y = SAMPLES[:13], REFERENCE[:11]
    counts = np.random.default_rng(2).multinomial(13, np.full(13, 1 / 13), size=3)
    compared = ManifoldReference.of(y, precision_recall=3, density_coverage=5).compare(x)
    expected = [by_balls(x, np.repeat(np.arange(13), times).tolist(), y)[name] for times in counts]
    assert compared.replicates(name, counts) == pytest.approx(expected)
    assert compared.replicates(name, np.ones((1, 13), int)) == pytest.approx(getattr(compared, name)())


def test_the_reference_itself_is_perfect_though_neighbours_lie_on_the_edge():
    found = measure(REFERENCE[::-1], REFERENCE)
    assert [found[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert found["density"] == pytest.approx((5 + 1) / 5)  # a ball holds its centre and five neighbours


def test_copies_lie_in_balls_of_radius_0():
    copies = np.repeat(features(4) + 1000, 6, axis=0)
    assert measure(copies, copies)["precision"] == 1
    assert measure(copies + 0.1, copies)["precision"] == 0


def test_far_away_nothing_is_covered_and_a_single_spot_covers_little():
    assert measure(SAMPLES + 100, REFERENCE) == dict.fromkeys(NAMES, 0)
    spot = measure(0.01 * SAMPLES, REFERENCE)
    assert spot["precision"] == 1
    assert spot["recall"] == 0
    assert spot["coverage"] < 0.7


def test_order_changes_nothing():
    assert measure(SAMPLES[::-1], REFERENCE[::-1]) == pytest.approx(measure(SAMPLES, REFERENCE))


def test_too_few_pictures_for_a_neighbour_are_refused():
    with pytest.raises(ValueError, match="5 nearest neighbours need at least 6 pictures; given 5"):
        measure(SAMPLES, REFERENCE[:5])
    with pytest.raises(ValueError, match="3 nearest neighbours need at least 4 pictures; given 3"):
        measure(SAMPLES[:3], REFERENCE)

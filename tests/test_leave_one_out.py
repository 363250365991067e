"""One eigendecomposition gives what leaving out each picture by hand does."""

import numpy as np
import pytest

from eval.metrics.frechet import FrechetReference, distance
from eval.metrics.leave_one_out import without_each


@pytest.mark.parametrize(
    ("n", "m", "dim"),
    [(20, 50, 8), (30, 50, 64), (30, 20, 64), (60, 40, 16), (3, 9, 5)],
    ids=["many", "few", "few on both sides", "rank of the reference", "three"],
)
def test_it_is_the_distance_of_the_others(n, m, dim):
    rng = np.random.default_rng(0)
    reference = FrechetReference.of(rng.normal(size=(m, dim)))
    pictures = reference.project(rng.normal(size=(n, dim)) / np.arange(1, dim + 1) + 0.1)
    expected = [distance(pictures.take(np.delete(np.arange(n), left_out)), reference) for left_out in range(n)]
    assert without_each(pictures, reference) == pytest.approx(expected, rel=5e-6)


def test_copies_of_a_picture_change_nothing_but_their_weight():
    rng = np.random.default_rng(1)
    reference = FrechetReference.of(rng.normal(size=(40, 6)))
    pictures = reference.project(np.repeat(rng.normal(size=(9, 6)), 2, axis=0))
    found = without_each(pictures, reference)
    assert found[::2] == pytest.approx(found[1::2], rel=1e-9)
    assert found[4] == pytest.approx(distance(pictures.take(np.delete(np.arange(18), 4)), reference), rel=1e-6)


@pytest.mark.parametrize("difference", [1e-6, 1e-4, 3e-4, 1e-2])
def test_two_pictures_that_hardly_differ_do_no_harm(difference):
    """Their direction has a Gram eigenvalue near the rounding error of the largest, as happens with real features."""
    rng, spread = np.random.default_rng(0), 1 / np.arange(1, 101)
    reference = FrechetReference.of(rng.normal(size=(40, 100)) * spread)
    rows = rng.normal(size=(40, 100)) * spread
    rows[1] = rows[0] + difference * spread * rng.normal(size=100)
    pictures = reference.project(rows)
    expected = [distance(pictures.take(np.delete(np.arange(40), left_out)), reference) for left_out in range(40)]
    assert without_each(pictures, reference) == pytest.approx(expected, rel=1e-6)

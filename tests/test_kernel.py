"""KID and CMMD: double loops over pairs, torch-fidelity and the authors' formula as references."""

import numpy as np
import pytest

from eval.metrics import kernel
from eval.metrics.kernel import KernelReference, cmmd, cmmd_replicates, kid, mmd2, mmd2_replicates


def features(n, seed=0, dim=12):
    return (np.random.default_rng(seed).normal(size=(n, dim)) + 0.3 * seed).astype(np.float32)


def resamples(n, replicates=4):
    return np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), size=replicates)


def cubic(x, y):
    return (float(x.astype(np.float64) @ y.astype(np.float64)) / len(x) + 1) ** 3


def mmd2_by_pairs(pictures, reference):
    """``pictures`` are (number, features): pairs of one number are the same picture and left out."""
    within = [cubic(x, y) for i, x in pictures for j, y in pictures if i != j]
    within_reference = [cubic(x, y) for i, x in enumerate(reference) for j, y in enumerate(reference) if i != j]
    across = [cubic(x, y) for _, x in pictures for y in reference]
    return np.mean(within) + np.mean(within_reference) - 2 * np.mean(across)


@pytest.fixture(params=[512, 4], ids=["one stripe", "many stripes"])
def stripes(request, monkeypatch):
    monkeypatch.setattr(kernel, "STRIPE", request.param)


@pytest.mark.usefixtures("stripes")
def test_mmd2_is_the_mean_over_pairs():
    x, y = features(11), features(9, seed=1)
    assert mmd2(x, y) == pytest.approx(mmd2_by_pairs(list(enumerate(x)), y), rel=1e-10)


@pytest.mark.usefixtures("stripes")
def test_a_resample_of_mmd2_is_the_mean_over_pairs_of_different_drawn_pictures():
    x, y = features(11), features(9, seed=1)
    counts = resamples(11)
    expected = [mmd2_by_pairs([(i, x[i]) for i in np.repeat(np.arange(11), times)], y) for times in counts]
    assert mmd2_replicates(x, KernelReference(y), counts) == pytest.approx(expected, rel=1e-10)


def test_resamples_of_mmd2_do_not_shift():
    x, y = features(40), features(50, seed=1)
    found = mmd2_replicates(x, KernelReference(y), resamples(40, replicates=2000))
    assert found.mean() == pytest.approx(mmd2(x, y), abs=4 * found.std() / np.sqrt(2000))


def test_copies_of_one_picture_have_no_pairs():
    assert np.isnan(mmd2_replicates(features(3), KernelReference(features(5, seed=1)), np.array([[0, 3, 0]]))).all()


def test_one_subset_of_all_pictures_is_mmd2():
    x, y = features(30), features(30, seed=1)
    assert kid(x, y, subsets=1, size=30, seed=2020) == pytest.approx(mmd2(x, y), rel=1e-9)


def test_kid_is_the_mean_of_mmd2_of_torch_fidelitys_subsets():
    x, y = features(30), features(25, seed=1)
    rng = np.random.RandomState(2020)
    subsets = [(rng.choice(30, 10, replace=False), rng.choice(25, 10, replace=False)) for _ in range(4)]
    expected = np.mean([mmd2(x[i], y[j]) for i, j in subsets])
    assert kid(x, y, subsets=4, size=10, seed=2020) == pytest.approx(expected, rel=1e-9)
    assert kid(x, y, subsets=4, size=10, seed=1) != pytest.approx(expected, rel=1e-3)


def test_sets_of_one_kind_are_0_apart_on_average_and_others_are_not():
    pairs = np.random.default_rng(0).normal(size=(200, 2, 30, 12))
    found = [mmd2(*pair) for pair in pairs]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(200) < 0.5 * mmd2(features(30), features(30, seed=1))
    assert min(found) < 0


def cmmd_of_authors(x, y):
    """As distance.py of google-research's cmmd writes it, after its embedding's scaling to length 1."""
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x.astype(np.float64), y.astype(np.float64)))
    x_sqnorms, y_sqnorms = np.diag(x @ x.T), np.diag(y @ y.T)
    gamma = 1 / (2 * 10**2)
    k_xx = np.mean(np.exp(-gamma * (-2 * x @ x.T + x_sqnorms[:, None] + x_sqnorms[None, :])))
    k_xy = np.mean(np.exp(-gamma * (-2 * x @ y.T + x_sqnorms[:, None] + y_sqnorms[None, :])))
    k_yy = np.mean(np.exp(-gamma * (-2 * y @ y.T + y_sqnorms[:, None] + y_sqnorms[None, :])))
    return 1000 * (k_xx + k_yy - 2 * k_xy)


@pytest.mark.usefixtures("stripes")
def test_cmmd_is_the_authors():
    x, y = features(11), features(9, seed=1)
    assert cmmd(x, y) == pytest.approx(cmmd_of_authors(x, y), rel=1e-9)


@pytest.mark.usefixtures("stripes")
def test_a_resample_of_cmmd_is_that_of_the_repeated_rows():
    x, y = features(11), features(9, seed=1)
    counts = resamples(11)
    expected = [cmmd_of_authors(np.repeat(x, times, axis=0), y) for times in counts]
    assert cmmd_replicates(x, KernelReference(y), counts) == pytest.approx(expected, rel=1e-9)


def test_cmmd_knows_neither_order_nor_length_and_equal_sets_are_0_apart():
    x, y = features(11), features(9, seed=1)
    assert cmmd(3 * x[::-1], y) == pytest.approx(cmmd(x, y), rel=1e-6)
    assert cmmd(x, x[::-1]) == pytest.approx(0, abs=1e-10)


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="at least 2 pictures a side; given 1 and 5"):
        mmd2(features(1), features(5))
    with pytest.raises(ValueError, match="2 to 5 pictures, as many as the smaller side has; given 6"):
        kid(features(9), features(5), subsets=3, size=6, seed=0)


def test_what_is_within_the_reference_is_computed_once(monkeypatch):
    """And is the same number for everybody who is compared with it."""
    reference, seen = KernelReference(features(9, seed=1)), []
    for name in ("_cubic", "_gaussian"):
        plain = getattr(kernel, name)
        monkeypatch.setattr(kernel, name, lambda x, y, plain=plain: seen.append((len(x), len(y))) or plain(x, y))
    for seed in (0, 2, 3):
        x = features(11, seed)
        counts = np.ones((1, 11), int)
        assert mmd2_replicates(x, reference, counts)[0] == mmd2(x, reference.features)
        assert cmmd_replicates(x, reference, counts)[0] == cmmd(x, reference.features)
    assert seen.count((9, 9)) == 2 + 2 * 3  # of this reference, and of the new ones that mmd2 and cmmd made

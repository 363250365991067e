"""Wilson's interval against its formula."""

import pytest
from scipy.stats import norm

from eval.stats import wilson


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

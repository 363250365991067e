"""How sure a number is."""

import numpy as np
from jaxtyping import Float, Int64


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson score interval, 95 %, of the share ``successes / trials``; it stays within [0, 1].

    It takes the trials as independent: for one picture a prompt they are.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def draw_counts(n: int, replicates: int, seed: int) -> Int64[np.ndarray, "replicates n"]:
    """How often each of ``n`` prompts is drawn in each resample of the bootstrap; every row sums to ``n``.

    The same counts for two systems resample the same prompts, so the differences of their replicates are paired.
    """
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates)


def mean_replicates(
    values: Float[np.ndarray, " n"], counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """The mean over prompts in each resample."""
    return counts @ values.astype(np.float64) / len(values)


def jackknife_replicates(
    value: float, without_each: Float[np.ndarray, " n"], counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """A set metric in each resample to first order, from its values without each of the prompts' pictures.

    Each prompt has a pseudo-value, n · ``value`` - (n - 1) · ``without_each``, and these are resampled like the values
    of a per-image metric. Bootstrapping FID itself is slow and, with fewer pictures than dimensions, 1.2 to 3.3 times
    too wide: a resample lacks 37 % of the pictures, and with them dimensions. In simulations with 4 to 100 dimensions
    this held the expected FID of n pictures in 92 to 99 % of the sets, at 0.9 to 1.3 times the true width.
    """
    n = len(without_each)
    pseudo = n * value - (n - 1) * without_each
    return value - pseudo.mean() + mean_replicates(pseudo, counts)


def interval(
    value: float, replicates: Float[np.ndarray, " replicates"], confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of a metric: ``value``, plus the quantiles of its replicates' distances from their mean.

    A resample shows about 63 % of the pictures, some of them repeatedly, and metrics of sets shift with that: FID rises
    once more by what it owes to n being finite. The shift is no uncertainty and is taken out. For a mean over prompts
    there is none, and this is the percentile interval.

    In simulations with 4 and 16 dimensions and 64 to 256 pictures it held the expected FID of n pictures in 93 to 100 %
    of the sets; the percentile interval did in 0 to 96 %, the reflected ("basic") one in 5 to 86 %, and a factor
    √(n / (n - 1)) changed nothing. The value itself is always in it.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates - replicates.mean(), [tail, 1 - tail])
    return float(value + min(low, 0)), float(value + max(high, 0))

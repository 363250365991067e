"""Maximum mean discrepancy between two sets of features: KID and CMMD.

MMD² = E k(x, x′) + E k(y, y′) - 2 E k(x, y), with pictures x and reference pictures y (Gretton et al. 2012). Kernel
matrices are computed in stripes of rows and never kept, all in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int64

Kernel = Callable[[Float[np.ndarray, "a dim"], Float[np.ndarray, "b dim"]], Float[np.ndarray, "a b"]]
STRIPE = 512  # rows: 30,000 pictures take 120 MB

CMMD_SIGMA = 10  # Jayasumana et al. 2024, arXiv 2401.09603, §4
CMMD_SCALE = 1000


@dataclass(frozen=True)
class KernelReference:
    """Reference pictures; the means of the kernels among them are computed once, when the first asks."""

    features: Float[np.ndarray, "m dim"]

    @cached_property
    def cubic(self) -> float:
        """Of the pairs of different pictures, with KID's kernel."""
        return float(_mean_of_pairs(self.features, _once(self.features))[0])

    @cached_property
    def unit(self) -> Float[np.ndarray, "m dim"]:
        """The features with length 1."""
        return _of_length_1(self.features)

    @cached_property
    def gaussian(self) -> float:
        """Of all pairs, with CMMD's kernel."""
        return float(_sum_of_pairs(self.unit, _gaussian, _once(self.unit))[0] / len(self.unit) ** 2)


def kid(
    features: Float[np.ndarray, "n dim"],
    reference: Float[np.ndarray, "m dim"],
    subsets: int,
    size: int,
    seed: int,
) -> float:
    """Kernel Inception Distance (Bińkowski et al. 2018, arXiv 1801.01401): the mean of :func:`mmd2` of random subsets.

    torch-fidelity's function and order of draws: ``size`` pictures of each side, ``subsets`` times. Unbiased, so it may
    be negative. Raises ValueError for fewer than ``size`` pictures on a side.
    """
    if not 2 <= size <= min(len(features), len(reference)):
        raise ValueError(
            f"KID's subsets need 2 to {min(len(features), len(reference))} pictures, as many as the smaller side has; "
            f"given {size}"
        )
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    sides = [torch.from_numpy(side).double() for side in (features, reference)]
    settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    return kid_features_to_metric(*sides, **settings)[KEY_METRIC_KID_MEAN]


def mmd2(features: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> float:
    """KID of all pairs: the unbiased estimate of MMD² with the kernel (xᵀy / dim + 1)³. It may be negative.

    Raises ValueError for fewer than 2 pictures on a side.
    """
    return float(mmd2_replicates(features, KernelReference(reference), _once(features))[0])


def mmd2_replicates(
    features: Float[np.ndarray, "n dim"],
    reference: KernelReference,
    counts: Int64[np.ndarray, "replicates n"],
) -> Float[np.ndarray, " replicates"]:
    """:func:`mmd2` of each resample, in which picture i stands ``counts[:, i]`` times.

    Pairs of a picture with its own copy are left out, so the mean over resamples is that of the pictures. NaN for a
    resample of nothing but copies of one picture, which has no pairs.
    """
    num, num_reference = len(features), len(reference.features)
    if min(num, num_reference) < 2:
        raise ValueError(f"MMD needs at least 2 pictures a side; given {num} and {num_reference}")
    within = _mean_of_pairs(features, counts)
    return within + reference.cubic - 2 * _mean_across(features, reference.features, _cubic, counts)


def cmmd(features: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> float:
    """CMMD (Jayasumana et al. 2024, arXiv 2401.09603): 1000 × MMD² of features of length 1, Gaussian kernel, σ = 10.

    The means are over all pairs, those of a picture with itself among them, as in the authors' code: ≥ 0 and biased by
    the number of pictures.
    """
    return float(cmmd_replicates(features, KernelReference(reference), _once(features))[0])


def cmmd_replicates(
    features: Float[np.ndarray, "n dim"],
    reference: KernelReference,
    counts: Int64[np.ndarray, "replicates n"],
) -> Float[np.ndarray, " replicates"]:
    """:func:`cmmd` of each resample, in which picture i stands ``counts[:, i]`` times."""
    x = _of_length_1(features)
    within = _sum_of_pairs(x, _gaussian, counts) / counts.sum(axis=1) ** 2
    return CMMD_SCALE * (within + reference.gaussian - 2 * _mean_across(x, reference.unit, _gaussian, counts))


def _once(features: Float[np.ndarray, "n dim"]) -> Int64[np.ndarray, "1 n"]:
    """The counts of the set itself."""
    return np.ones((1, len(features)), np.int64)


def _cubic(x: Float[np.ndarray, "a dim"], y: Float[np.ndarray, "b dim"]) -> Float[np.ndarray, "a b"]:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # ** 3 takes many times as long


def _gaussian(x: Float[np.ndarray, "a dim"], y: Float[np.ndarray, "b dim"]) -> Float[np.ndarray, "a b"]:
    """For rows of length 1, where |x - y|² = 2 - 2xᵀy."""
    return np.exp((x @ y.T - 1) / CMMD_SIGMA**2)


def _of_length_1(features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _stripes(num: int) -> Iterator[slice]:
    yield from (slice(start, start + STRIPE) for start in range(0, num, STRIPE))


def _sum_of_pairs(
    features: Float[np.ndarray, "n dim"], kernel: Kernel, counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """Σ_ij w_i w_j k(x_i, x_j) with each row w of ``counts``, the pairs i = j among them."""
    features, weights = features.astype(np.float64), counts.astype(np.float64)
    return sum(
        np.einsum("rn,rn->r", weights[:, rows] @ kernel(features[rows], features), weights)
        for rows in _stripes(len(features))
    )


def _mean_of_pairs(
    features: Float[np.ndarray, "n dim"], counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """The mean of the cubic kernel over the drawn pairs of different pictures."""
    squares = counts**2
    selves = (np.square(features, dtype=np.float64).mean(axis=1) + 1) ** 3
    pairs = counts.sum(axis=1) ** 2 - squares.sum(axis=1)
    total = _sum_of_pairs(features, _cubic, counts) - squares @ selves
    return np.divide(total, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _mean_across(
    features: Float[np.ndarray, "n dim"],
    reference: Float[np.ndarray, "m dim"],
    kernel: Kernel,
    counts: Int64[np.ndarray, "replicates n"],
) -> Float[np.ndarray, " replicates"]:
    features, reference = features.astype(np.float64), reference.astype(np.float64)
    means = np.concatenate([kernel(features[rows], reference).mean(axis=1) for rows in _stripes(len(features))])
    return counts @ means / counts.sum(axis=1)

"""Fréchet Inception Distance (Heusel et al. 2017, arXiv 1706.08500) between two sets of features.

FID = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr √(Σ₁Σ₂), with means μ and covariances Σ (divisor n - 1), all in float64.

With a factor of the reference, Σ₂ = LLᵀ, the product Σ₁Σ₂ has the eigenvalues of LᵀΣ₁L. So the last trace is the sum of
the singular values of C / √(n - 1), where C are the pictures' rows times L, centred. L is computed once a reference,
the rows times L once a picture; every subset and every resample of the pictures is arithmetic on these. The product
itself is never formed: with singular covariances its eigenvalues are noise where they should be 0.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Shaped


@dataclass(frozen=True)
class Projected:
    """Pictures as a reference sees them: their ``rows`` of features minus its mean, and those times its factor."""

    rows: Float[np.ndarray, "n dim"]
    seen: Float[np.ndarray, "n rank"]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Shaped[np.ndarray, " k"] | slice) -> "Projected":
        """Some of the pictures, also repeated ones."""
        return Projected(self.rows[index], self.seen[index])


@dataclass(frozen=True)
class FrechetReference:
    """What FID needs of the reference: its mean, the trace of its covariance Σ, and a ``factor`` L with LLᵀ = Σ."""

    mean: Float[np.ndarray, " dim"]
    variance: float
    factor: Float[np.ndarray, "dim rank"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "m dim"]) -> "FrechetReference":
        """The factor has min(m, dim) columns. Raises ValueError for fewer than 2 pictures."""
        _check_two(len(features), "reference pictures")
        mean = features.mean(axis=0, dtype=np.float64)
        rows = features - mean
        # Centred rows A = QR have AᵀA = RᵀR: a factor without the covariance, whose small eigenvalues are inexact.
        factor = np.linalg.qr(rows, mode="r").T / np.sqrt(len(rows) - 1)
        return cls(mean, float(np.square(factor).sum()), factor)

    def project(self, features: Float[np.ndarray, "n dim"]) -> Projected:
        rows = features - self.mean
        return Projected(rows, rows @ self.factor)


def frechet_distance(samples: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> float:
    """:func:`distance` of two sets of features that are compared once."""
    known = FrechetReference.of(reference)
    return distance(known.project(samples), known)


def distance(pictures: Projected, reference: FrechetReference) -> float:
    """FID: symmetric, ≥ 0 (equal sets may come out a rounding error below).

    FID is biased by the number of pictures: FID_n ≈ FID_∞ + C/n, with a C that differs between systems (Chong and
    Forsyth 2020). With fewer pictures than dimensions the bias outweighs everything but large differences. So compare
    only rows of equal n and m, and write both beside the number. Raises ValueError for fewer than 2 pictures.
    """
    _check_two(len(pictures), "pictures")
    shift = pictures.rows.mean(axis=0)
    variance = np.square(pictures.rows - shift).sum() / (len(pictures) - 1)
    seen = pictures.seen - pictures.seen.mean(axis=0)
    if len(seen) > seen.shape[1]:
        seen = np.linalg.qr(seen, mode="r")  # the same singular values in fewer rows
    overlap = np.linalg.svd(seen, compute_uv=False).sum() / np.sqrt(len(pictures) - 1)
    return float(shift @ shift + variance + reference.variance - 2 * overlap)


def replicates(
    pictures: Projected, reference: FrechetReference, counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """FID of each resample, in which picture i stands ``counts[:, i]`` times; the reference stays as it is.

    It is :func:`distance` of the repeated rows to a millionth, and many times faster: the singular values come as roots
    of the eigenvalues of a Gram matrix, which leaves 1e-8 of the largest where there should be 0.
    """
    n = counts.sum(axis=1)
    shifts = (counts @ pictures.rows) / n[:, None]
    squares = np.square(shifts).sum(axis=1)
    spread = counts @ np.square(pictures.rows).sum(axis=1) - n * squares
    seen = pictures.seen - pictures.seen.mean(axis=0)
    overlaps = _overlaps_of_few(seen, counts) if len(seen) <= seen.shape[1] else _overlaps_of_many(seen, counts)
    return squares + spread / (n - 1) + reference.variance - 2 * overlaps / np.sqrt(n - 1)


def fid_infinity(
    pictures: Projected, reference: FrechetReference, points: int, smallest: int | None, seed: int
) -> tuple[float, float, float]:
    """FID of infinitely many pictures, extrapolated (Chong and Forsyth 2020, arXiv 1911.07023), and its interval.

    The intercept of the straight line through FID over 1/N at ``points`` values of N, evenly spaced from ``smallest``
    (None: half of the pictures) to all of them, each a seeded subset of its own. The 95 % interval says how sure the
    line is, not how much other pictures would change it. Raises ValueError for fewer than 3 points, for a ``smallest``
    that leaves no room for them, and for one of no more pictures than dimensions, where FID is no line in 1/N.
    """
    n, dim = pictures.rows.shape
    smallest = n // 2 if smallest is None else smallest
    if points < 3 or not 2 <= smallest < n:
        raise ValueError(
            f"FID∞ needs at least 3 points from 2 or more pictures up to all {n}; given {points} points from {smallest}"
        )
    if smallest <= dim:
        raise ValueError(
            f"FID∞ of {dim} dimensions needs subsets of more pictures than that; the smallest has {smallest}"
        )
    from scipy.stats import linregress, t

    sizes = np.linspace(smallest, n, points).astype(int)
    ranks = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (points, 1)), axis=1)
    line = linregress(1 / sizes, replicates(pictures, reference, (ranks < sizes[:, None]).astype(np.int64)))
    reach = t.ppf(0.975, points - 2) * line.intercept_stderr
    return float(line.intercept), float(line.intercept - reach), float(line.intercept + reach)


def _overlaps_of_few(
    seen: Float[np.ndarray, "n rank"], counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """Sums of the singular values of the repeated and centred rows, from the pictures' n × n Gram matrix.

    A picture that stands w times is one row times √w, so no replicate has a row for a repeated or an absent picture.
    """
    products = seen @ seen.T
    overlaps = np.empty(len(counts))
    for number, weights in enumerate(counts):
        drawn = np.flatnonzero(weights)
        w = weights[drawn]
        gram = products[np.ix_(drawn, drawn)]
        to_mean = gram @ w / w.sum()
        gram += to_mean @ w / w.sum() - to_mean - to_mean[:, None]
        overlaps[number] = _sum_of_roots(gram * np.sqrt(w) * np.sqrt(w)[:, None])
    return overlaps


def _overlaps_of_many(
    seen: Float[np.ndarray, "n rank"], counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """The same from the rank × rank Gram matrix, for more pictures than the factor has columns."""
    overlaps = np.empty(len(counts))
    for number, weights in enumerate(counts):
        drawn = np.flatnonzero(weights)
        w = weights[drawn]
        rows = np.sqrt(w)[:, None] * (seen[drawn] - w @ seen[drawn] / w.sum())
        overlaps[number] = _sum_of_roots(rows.T @ rows)
    return overlaps


def _sum_of_roots(gram: Float[np.ndarray, "size size"]) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(gram).clip(min=0)).sum())


def _check_two(num: int, what: str) -> None:
    if num < 2:
        raise ValueError(f"FID needs at least 2 {what}, one has no covariance; given {num}")

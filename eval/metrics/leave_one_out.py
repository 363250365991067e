"""FID of all pictures but one, for each of them, at the cost of one eigendecomposition.

From these its interval is taken: see :func:`eval.stats.jackknife_replicates`.
"""

import numpy as np
from jaxtyping import Float

from eval.metrics.frechet import FrechetReference, Projected


def without_each(pictures: Projected, reference: FrechetReference) -> Float[np.ndarray, " n"]:
    """FID of the pictures without picture i: :func:`distance` of the others, to some millionths.

    Leaving row z of centred rows C out turns CᵀC into CᵀC - n/(n - 1) zzᵀ. The sum of the roots of its eigenvalues
    differs from that of CᵀC by ∫₀^∞ log(1 - n/(n - 1) zᵀ(CᵀC + t²)⁻¹z) dt / π, because ∫₀^∞ log(1 + λ/t²) dt = π √λ.
    """
    n = len(pictures)
    mean = pictures.rows.mean(axis=0)
    squares = np.square(pictures.rows - mean).sum(axis=1)
    shifts = np.square(mean - (pictures.rows - mean) / (n - 1)).sum(axis=1)
    variances = (squares.sum() - n / (n - 1) * squares) / (n - 2)
    values, shares = _principal(pictures.seen - pictures.seen.mean(axis=0))
    overlaps = np.sqrt(values).sum() + _change(values, n / (n - 1) * shares)
    return shifts + variances + reference.variance - 2 * overlaps / np.sqrt(n - 2)


def _principal(
    rows: Float[np.ndarray, "n rank"],
) -> tuple[Float[np.ndarray, " values"], Float[np.ndarray, "n values"]]:
    """Non-zero eigenvalues of the rows' Gram matrix, and squares of its unit eigenvectors' entries, (n, values)."""
    if len(rows) <= rows.shape[1]:
        values, vectors = np.linalg.eigh(rows @ rows.T)
        squares = np.square(vectors)
    else:
        values, vectors = np.linalg.eigh(rows.T @ rows)
        squares = np.square(rows @ vectors) / np.maximum(values, 1e-300)
    is_real = values > 1e-13 * max(values[-1], 1e-300)
    return values[is_real], squares[:, is_real]


def _change(values: Float[np.ndarray, " values"], shares: Float[np.ndarray, "n values"]) -> Float[np.ndarray, " n"]:
    """∫₀^∞ log(1 - Σ_k shares_ik λ_k / (λ_k + t²)) dt / π by the trapezoidal rule in log t, exact to about 1e-8."""
    if not len(values):  # the reference, or the pictures, are all alike: nothing overlaps
        return np.zeros(len(shares))
    step = 0.5
    t = np.sqrt(values[-1]) * np.exp(np.arange(-22, 22, step))  # from 3e-10 to 4e9 times the largest root
    taken = shares @ (values[:, None] / (values[:, None] + t**2))
    # 1 - taken cancels for small t, where the shares may add up to 1; written out it would not end in 1 for large t.
    rest = np.maximum(1 - shares.sum(axis=1), 0)[:, None]
    left = rest + shares @ (t**2 / (values[:, None] + t**2))
    return np.where(taken < 0.5, np.log1p(-np.minimum(taken, 0.5)), np.log(left)) @ t * step / np.pi

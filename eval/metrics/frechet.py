"""Fréchet Inception Distance (Heusel et al. 2017, arXiv 1706.08500) between two sets of features.

FID = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr √(Σ₁Σ₂), with means μ and covariances Σ (divisor n - 1), all in float64.
"""

import numpy as np
from jaxtyping import Float


def frechet_distance(samples: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> float:
    """FID between ``samples`` and ``reference``: symmetric, ≥ 0 (equal sets may come out a rounding error below).

    FID is biased by the number of pictures: FID_n ≈ FID_∞ + C/n, with a C that differs between systems (Chong and
    Forsyth 2020). With fewer pictures than ``dim`` both covariances are singular and the bias outweighs everything but
    large differences. So compare only rows of equal n and m, and write both beside the number.

    Few pictures take :func:`from_few`, many :func:`from_statistics`: the same quantity, the cheaper way. Raises
    ValueError for a set of fewer than 2 pictures, which has no covariance.
    """
    if min(len(samples), len(reference)) < 2:
        raise ValueError(f"FID needs at least 2 pictures a side; given {len(samples)} and {len(reference)}")
    dim = samples.shape[1]
    route = from_few if len(samples) * len(reference) <= dim**2 else from_statistics
    return route(samples, reference)


def from_few(samples: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> float:
    """FID by way of an n × m matrix; no dim × dim matrix is formed.

    With centred rows A and B, Σ₁Σ₂ = AᵀA BᵀB / (n-1)(m-1) has the non-zero eigenvalues of (ABᵀ)(ABᵀ)ᵀ / (n-1)(m-1).
    Their square roots are the singular values of ABᵀ / √((n-1)(m-1)), so the trace is its nuclear norm. It is exact
    where the eigenvalues of a singular Σ₁Σ₂ are noise.
    """
    samples, reference = samples.astype(np.float64), reference.astype(np.float64)
    shift = samples.mean(axis=0) - reference.mean(axis=0)
    a = (samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1)
    b = (reference - reference.mean(axis=0)) / np.sqrt(len(reference) - 1)
    overlap = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * overlap)


def from_statistics(samples: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> float:
    """FID as torch-fidelity computes it, from means and dim × dim covariances."""
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    # torch-fidelity keeps the dtype it is given, and float32 sums cost digits.
    statistics = [fid_features_to_statistics(torch.from_numpy(side).double()) for side in (samples, reference)]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]

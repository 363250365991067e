"""Inception Score (Salimans et al. 2016, arXiv 1606.03498): are pictures recognisable, and of many kinds?"""

import numpy as np
from jaxtyping import Float, Int64

ORDER_SEED = 2020  # of the pictures in a resample


def inception_score(
    logits: Float[np.ndarray, "n classes"], splits: int, shuffle_seed: int | None
) -> tuple[float, float]:
    """Mean and population standard deviation, over ``splits`` parts, of exp E KL(p(class | picture) ‖ p(class)).

    Between 1 and the number of classes. The rows are shuffled with the seed (None: they stay in their order) and cut at
    ⌊i·n/splits⌋, as in torch-fidelity, whose function this is. Pictures sorted by kind and not shuffled make parts of
    one kind each, which score 1. A part cannot score more than it has pictures, so compare only scores of equal n and
    splits. Raises ValueError for fewer pictures than splits, where torch-fidelity would give NaN.
    """
    _check_splits(len(logits), splits)
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    score = isc_features_to_metric(torch.from_numpy(logits), splits, shuffle_seed is not None, shuffle_seed)
    return score[KEY_METRIC_ISC_MEAN], score[KEY_METRIC_ISC_STD]


def inception_score_replicates(
    logits: Float[np.ndarray, "n classes"], splits: int, counts: Int64[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """The mean over parts for each resample, in which picture i stands ``counts[:, i]`` times.

    The drawn pictures are cut as above, in a random order, also where the protocol keeps the given one: side by side,
    the copies of a picture would fall into the same part. Equal counts get equal orders, so systems can be paired.
    """
    _check_splits(len(logits), splits)
    from scipy.special import log_softmax, xlogy

    log_p = log_softmax(logits.astype(np.float64), axis=1)
    p = np.exp(log_p)
    negative_entropies = (p * log_p).sum(axis=1)
    scores = np.empty(len(counts))
    for number, times in enumerate(counts):
        weights = _weights(times, splits, np.random.default_rng([ORDER_SEED, number]))
        divergences = weights @ negative_entropies - (xlogy(q := weights @ p, q)).sum(axis=1)
        scores[number] = np.exp(divergences).mean()
    return scores


def _weights(times: Int64[np.ndarray, " n"], splits: int, rng: np.random.Generator) -> Float[np.ndarray, "splits n"]:
    """The share of each picture in each part of a resample; rows sum to 1."""
    n = len(times)
    drawn = rng.permutation(np.repeat(np.arange(n), times))
    edges = np.arange(splits + 1) * len(drawn) // splits
    parts = np.repeat(np.arange(splits), np.diff(edges))
    held = np.bincount(parts * n + drawn, minlength=splits * n).reshape(splits, n)
    return held / np.diff(edges)[:, None]


def _check_splits(num: int, splits: int) -> None:
    if num < splits:
        raise ValueError(f"the Inception Score needs at least a picture a split; given {num}, {splits} splits")

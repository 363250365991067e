"""Inception Score (Salimans et al. 2016, arXiv 1606.03498): are pictures recognisable, and of many kinds?"""

import numpy as np
from jaxtyping import Float

SHUFFLE_SEED = 2020  # torch-fidelity's own: pictures sorted by kind would otherwise give splits of one kind each


def inception_score(logits: Float[np.ndarray, "n classes"], splits: int) -> tuple[float, float]:
    """Mean and population standard deviation, over ``splits`` parts, of exp E KL(p(class | picture) ‖ p(class)).

    Between 1 and the number of classes. The rows are shuffled with a fixed seed and cut at ⌊i·n/splits⌋, as in
    torch-fidelity, whose function this is. A part cannot score more than it has pictures, so compare only scores of
    equal n and splits. Raises ValueError for fewer pictures than splits, where torch-fidelity would give NaN.
    """
    if len(logits) < splits:
        raise ValueError(f"the Inception Score needs at least a picture a split; given {len(logits)}, {splits} splits")
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    score = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=True, rng_seed=SHUFFLE_SEED)
    return score[KEY_METRIC_ISC_MEAN], score[KEY_METRIC_ISC_STD]

"""Do metrics give what can be computed by hand, what torch-fidelity gives, and what was committed?"""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from eval.golden import fixtures
from eval.golden.check import committed, compare
from eval.metrics import kernel
from eval.metrics.frechet import frechet_distance
from eval.metrics.inception_score import inception_score
from eval.metrics.manifold import ManifoldReference

EXACT = 1e-9
FIDELITY = 1e-6  # relative to torch-fidelity's value
SCORES = 1e-6  # sums of exponentials round differently on other processors


def check_inception_score() -> str:
    """The hand example; parts cut at ⌊i·n/splits⌋; committed scores of pictures in their order and shuffled.

    p = (0.8, 0.2) and (0.2, 0.8) around (0.5, 0.5): KL = 0.8 ln 1.6 + 0.2 ln 0.4 for both, so the score is
    1.6^0.8 · 0.4^0.2.
    """
    by_hand = np.array(inception_score(np.log([[0.8, 0.2], [0.2, 0.8]]), splits=1, shuffle_seed=None))
    compare("two sure pictures", by_hand, np.array([1.6**0.8 * 0.4**0.2, 0]), EXACT)
    logits = fixtures.numbers("logits")["logits"]
    edges = [i * len(logits) // fixtures.SPLITS for i in range(fixtures.SPLITS + 1)]
    parts = [inception_score(logits[low:high], 1, None)[0] for low, high in pairwise(edges)]
    found = fixtures.scored()
    compare("parts of a sorted set", found["sorted"], np.array([np.mean(parts), np.std(parts)]), EXACT)
    expected = committed("scores", found.keys())
    for order, score in found.items():
        compare(f"score of the {order} set", score, expected[order], SCORES)
    in_order, mixed = found["sorted"][0], found["shuffled"][0]
    return f"{by_hand[0]:.4f} by hand; one set scores {in_order:.2f} sorted, {mixed:.2f} shuffled"


def check_fid() -> str:
    """Equal sets are at 0, Gaussians with common axes where the formula says, others where torch-fidelity says."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    x, y = _features(200, seed=0), _features(150, seed=1) * 1.5 + 0.3
    compare("distance of a set from itself", np.array(frechet_distance(x, x)), np.array(0.0), EXACT)
    narrow, wide, shift = np.linspace(0.5, 2, 16), np.linspace(3, 1, 16), np.linspace(-1, 1, 16)
    found = frechet_distance(_gaussian(narrow), _gaussian(wide) + shift)
    by_hand = np.square(shift).sum() + np.square(narrow - wide).sum()
    compare("distance of two Gaussians", np.array(found), np.array(by_hand), EXACT * by_hand)
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, _tensors(x, y)), verbose=False)[KEY_METRIC_FID]
    gap = compare(
        "distance in units of torch-fidelity's", np.array(frechet_distance(x, y) / theirs), np.array(1.0), FIDELITY
    )
    return f"closed forms; torch-fidelity's {theirs:.4f} but for {gap:.1g} of it (allowed {FIDELITY:g})"


def check_kid() -> str:
    """One subset of all pictures, by torch-fidelity, is the value of all pairs."""
    x, y = _features(60, seed=0), _features(60, seed=1) + 0.3
    ours, theirs = kernel.mmd2(x, y), kernel.kid(x, y, subsets=1, size=60, seed=0)
    gap = compare("KID in units of torch-fidelity's", np.array(ours / theirs), np.array(1.0), FIDELITY)
    return f"torch-fidelity's {theirs:.4f} but for {gap:.1g} of it (allowed {FIDELITY:g})"


def check_manifold() -> str:
    """Precision and recall are torch-fidelity's."""
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    x, y = _features(80, seed=0) * 0.8, _features(90, seed=1)
    theirs = prc_features_to_metric(*_tensors(x, y), prc_neighborhood=3, verbose=False)
    ours = ManifoldReference.of(y, precision_recall=3, density_coverage=5).compare(x)
    found = np.array([ours.precision(), ours.recall()])
    expected = np.array([theirs[KEY_METRIC_PRECISION], theirs[KEY_METRIC_RECALL]], np.float64)
    compare("precision, recall", found, expected, FIDELITY)
    return f"torch-fidelity's: {found[0]:.3f}, {found[1]:.3f}"


def check_bootstrap() -> str:
    """A seed draws the prompts that it drew when intervals were published."""
    found = fixtures.resampled()
    compare(f"resamples of seed {fixtures.SEED}", found["counts"], committed("resamples", found.keys())["counts"], 0)
    return f"{fixtures.REPLICATES} resamples of seed {fixtures.SEED} as committed"


def _features(n: int, seed: int, dim: int = 16) -> Float[np.ndarray, "n dim"]:
    """Gaussian rows, correlated: of full rank where n > dim."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ (np.eye(dim) + 0.3 * rng.normal(size=(dim, dim)))


def _gaussian(deviations: Float[np.ndarray, " dim"]) -> Float[np.ndarray, "n dim"]:
    """A set whose mean is exactly 0 and whose covariance is exactly diagonal, with these standard deviations."""
    rows = np.random.default_rng(2).normal(size=(100, len(deviations)))
    orthonormal, _ = np.linalg.qr(rows - rows.mean(axis=0))
    return orthonormal * deviations * np.sqrt(len(rows) - 1)


def _tensors(*sides: Float[np.ndarray, "_ dim"]) -> list[torch.Tensor]:
    return [torch.from_numpy(side) for side in sides]

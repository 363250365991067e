"""Do people agree: with each other (Fleiss' κ, Krippendorff's α), and with themselves (repeated pairs)?

1 is perfect agreement, 0 what chance gives, below 0 is less than chance.
"""

import numpy as np
import pandas as pd
from jaxtyping import Int64

from eval.human.verdicts import Rate
from eval.stats import draw_counts, interval

Counts = Int64[np.ndarray, "pairs choices"]


def fleiss(counts: Counts) -> float:
    """Fleiss' κ over the pairs with the commonest number of votes: it needs equally many on each. NaN for one vote."""
    from statsmodels.stats.inter_rater import fleiss_kappa

    votes = counts.sum(axis=1)
    usual = np.bincount(votes).argmax()
    same = counts[votes == usual]
    if usual < 2 or _is_unanimous(same):
        return np.nan
    return float(fleiss_kappa(same))


def alpha(counts: Counts) -> float:
    """Krippendorff's α, nominal; pairs may have different numbers of votes, those with one say nothing.

    NaN if no pair has two votes, or if all votes are the same: then nothing could differ by chance.
    """
    import krippendorff

    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts) or _is_unanimous(counts):
        return np.nan
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _is_unanimous(counts: Counts) -> bool:
    return bool((counts.sum(axis=0) > 0).sum() < 2)


def alpha_over_prompts(counts: Counts, replicates: int, seed: int) -> Rate:
    """α with its 95 % interval, by bootstrap over prompts."""
    value = alpha(counts)
    drawn = draw_counts(len(counts), replicates, seed)
    resampled = np.array([alpha(np.repeat(counts, times, axis=0)) for times in drawn])
    resampled = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(resampled):
        return Rate(value, np.nan, np.nan)
    return Rate(value, *interval(value, resampled))


def self_agreement(votes: pd.DataFrame) -> float:
    """The share of repeated pairs for which a rater chose the same system again; NaN if nobody saw a repeat twice."""
    again = votes[votes["kind"] == "repeat"]
    both = again.merge(votes, left_on=["rater", "repeats", "question"], right_on=["rater", "task_id", "question"])
    return float((both["choice_x"] == both["choice_y"]).mean())

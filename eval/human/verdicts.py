"""From votes to verdicts: majorities, win rates, and intervals that know that votes on one picture are alike.

An interval is a bootstrap over prompts, because the votes on one pair are not independent: an interval of the single
votes would be too narrow. A tie is half a win for each (GLIDE); the rate without ties stands beside it.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int64

from eval.stats import draw_counts, interval, mean_replicates, wilson

CHOICES = ("first", "second", "tie")
WORTH = {"first": 1.0, "second": 0.0, "tie": 0.5}
NO_MAJORITY = -1


class Rate(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


def rate_over_prompts(values: pd.Series, prompts: pd.Series, replicates: int, seed: int) -> Rate:
    """The mean over prompts of the mean value of each prompt's votes or pictures; bootstrap over prompts.

    Votes count as :data:`WORTH` says. Single pictures that were judged right (1) or wrong (0) go the same way.
    """
    means = values.groupby(prompts).mean().to_numpy(dtype=float)
    counts = draw_counts(len(means), replicates, seed)
    value = float(means.mean())
    return Rate(value, *interval(value, mean_replicates(means, counts)))


def share_of_majorities(outcomes: Int64[np.ndarray, " pairs"]) -> Rate:
    """The share of pairs that the majority gave to the first, of all pairs (the paper's best-of-five); Wilson."""
    wins = int((outcomes == CHOICES.index("first")).sum())
    return Rate(wins / len(outcomes), *wilson(wins, len(outcomes)))


def tally(votes: pd.DataFrame) -> pd.DataFrame:
    """How many votes each pair has for each of first, second and tie; one row a prompt, one question at a time.

    Repeats and gold checks are no votes on the systems, and are not in it.
    """
    pairs = votes[votes["kind"] == "pair"]
    counted = pd.crosstab(pairs["prompt_id"], pairs["choice"])
    return counted.reindex(columns=list(CHOICES), fill_value=0)


def majorities(counts: Int64[np.ndarray, "pairs choices"]) -> Int64[np.ndarray, " pairs"]:
    """The choice with **more than half** of a pair's votes, or -1: of five votes 2-2-1 has no majority, 3-1-1 has."""
    best = counts.argmax(axis=1)
    return np.where(2 * counts.max(axis=1) > counts.sum(axis=1), best, NO_MAJORITY)


def histogram(counts: pd.DataFrame) -> pd.DataFrame:
    """How many pairs have each distribution of votes, 5-0-0 to 0-5-0: first, second, tie, pairs (paper, figure 7)."""
    patterns = counts.value_counts().rename("pairs").reset_index()
    return patterns.sort_values(["first", "second", "tie"], ascending=False, ignore_index=True)


def verdict(votes: pd.DataFrame, identical: int, replicates: int, seed: int) -> dict[str, float | int]:
    """What the votes on one question say.

    - n, votes: pairs with votes, and votes on them; wins, losses, ties, no_majority: the pairs' majorities
    - majority: :func:`share_of_majorities`; rate: of votes, a tie counts half; decided: of votes that are no tie
    - shown_alike: captions whose two pictures were equal, so nobody was asked; rate_of_all counts them as ties

    Shares have _low and _high, of 95 % intervals. ``decided`` is NaN if every vote is a tie.
    """
    pairs = votes[votes["kind"] == "pair"]
    counts = tally(votes)
    outcomes = majorities(counts.to_numpy())
    worth = pairs["choice"].map(WORTH)
    rate = rate_over_prompts(worth, pairs["prompt_id"], replicates, seed)
    kinds = {"wins": 0, "losses": 1, "ties": 2, "no_majority": NO_MAJORITY}
    return {
        "n": len(counts),
        "votes": len(pairs),
        **{name: int((outcomes == number).sum()) for name, number in kinds.items()},
        **_named("majority", share_of_majorities(outcomes)),
        **_named("rate", rate),
        **_named("decided", _decided(counts, replicates, seed)),
        "shown_alike": identical,
        "rate_of_all": (rate.value * len(counts) + identical / 2) / (len(counts) + identical),
    }


def _named(name: str, rate: Rate) -> dict[str, float]:
    return {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}


def _decided(counts: pd.DataFrame, replicates: int, seed: int) -> Rate:
    wins, losses = counts["first"].to_numpy(), counts["second"].to_numpy()
    if wins.sum() + losses.sum() == 0:
        return Rate(np.nan, np.nan, np.nan)
    drawn = draw_counts(len(counts), replicates, seed)
    with np.errstate(invalid="ignore"):  # a resample may have ties only
        resampled = (drawn @ wins) / (drawn @ (wins + losses))
    value = float(wins.sum() / (wins.sum() + losses.sum()))
    return Rate(value, *interval(value, resampled[~np.isnan(resampled)]))

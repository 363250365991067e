"""How many pairs and votes it takes to tell a win rate from a coin toss.

The votes on one pair are alike, because people see the same pictures. With k votes a pair and agreement α
(Krippendorff's, which for two answers and equal shares is the intraclass correlation) the mean vote on a pair has the
variance p (1 - p) (1 + (k - 1) α) / k around the win rate p: more votes on the same pairs soon help little, more pairs
always do.
"""

from itertools import product
from math import ceil, sqrt

import pandas as pd
from scipy.stats import norm

POINTS = (2, 5, 10)  # differences of a win rate from 50 %
VOTES = (1, 3, 5, 10)
AGREEMENTS = (0.2, 0.4, 0.6)  # low, usual, high; compare with the α of your own votes
POWER, CONFIDENCE = 0.8, 0.95


def pairs_needed(points: int, votes: int, agreement: float) -> int:
    """Pairs after which a win rate ``points`` % from 50 % is told from 50 %, two-sided at 5 %, in 80 % of studies."""
    rate = 0.5 + points / 100
    certain, likely = norm.ppf((1 + CONFIDENCE) / 2), norm.ppf(POWER)
    spread = certain * sqrt(_variance(0.5, votes, agreement)) + likely * sqrt(_variance(rate, votes, agreement))
    return ceil((spread / (points / 100)) ** 2)


def _variance(rate: float, votes: int, agreement: float) -> float:
    return rate * (1 - rate) * (1 + (votes - 1) * agreement) / votes


def points_resolved(pairs: int, votes: int, agreement: float) -> int | None:
    """The smallest whole difference from 50 %, in points, for which ``pairs`` suffice; None if none does."""
    return next((points for points in range(1, 50) if pairs_needed(points, votes, agreement) <= pairs), None)


def power_table() -> pd.DataFrame:
    """Columns: points, agreement, votes_per_pair, pairs, votes (pairs × votes_per_pair)."""
    rows = [
        {
            "points": points,
            "agreement": agreement,
            "votes_per_pair": votes,
            "pairs": pairs_needed(points, votes, agreement),
        }
        for points, agreement, votes in product(POINTS, AGREEMENTS, VOTES)
    ]
    return pd.DataFrame(rows).assign(votes=lambda table: table["votes_per_pair"] * table["pairs"])

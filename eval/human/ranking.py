"""Three and more systems on one scale: Bradley–Terry, in the units of Elo, from all comparisons together.

A system beats another with probability 1 / (1 + 10^((theirs - ours) / 400)). GLIDE (appendix A.1) minimises
-Σ A_ij log P(i beats j), A_ij counting wins and half the ties, which is the same likelihood; it is done here a second
time as a check. The copies of that paper print the exponent with the signs exchanged, which would rank losers first.
"""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64

from eval.stats import draw_counts, interval

Wins = Float[np.ndarray, "systems systems"]  # [i, j]: how often i beat j; a tie is half a win for each
RANKING_COLUMNS = ["system", "score", "low", "high", "glide", "votes"]
ELO = 400 / math.log(10)  # points of a natural logarithm of odds


def wins_by_prompt(votes: pd.DataFrame, systems: list[str]) -> Float[np.ndarray, "prompts systems systems"]:
    """Of every prompt the wins on it. ``votes`` has prompt_id, first, second (systems) and choice."""
    place = {system: number for number, system in enumerate(systems)}
    prompts, row = np.unique(votes["prompt_id"], return_inverse=True)
    first, second = (votes[side].map(place).to_numpy() for side in ("first", "second"))
    worth = votes["choice"].map({"first": 1.0, "second": 0.0, "tie": 0.5}).to_numpy()
    wins = np.zeros((len(prompts), len(systems), len(systems)))
    np.add.at(wins, (row, first, second), worth)
    np.add.at(wins, (row, second, first), 1 - worth)
    return wins


def with_a_tie(wins: Wins) -> Wins:
    """One more tie for every two systems that met: without it a system that always won has no finite score."""
    return wins + 0.5 * (wins + wins.T > 0)


def bradley_terry(wins: Wins) -> Float[np.ndarray, " systems"]:
    """Scores of mean 0, Elo's points. Every system must be connected with every other by comparisons."""
    import evalica

    names = [str(number) for number in range(len(wins))]
    ours, theirs = np.nonzero(wins)
    result = evalica.bradley_terry(
        xs=[names[place] for place in ours],
        ys=[names[place] for place in theirs],
        winners=[evalica.Winner.X] * len(ours),
        weights=wins[ours, theirs].tolist(),
        index=pd.Index(names),
        tolerance=1e-9,
        limit=100_000,
    )
    scores = ELO * np.log(result.scores.loc[names].to_numpy())
    return scores - scores.mean()


def glide_elo(wins: Wins) -> Float[np.ndarray, " systems"]:
    """The same scores by GLIDE's objective, minimised from 0."""
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(odds: Float[np.ndarray, " systems"]) -> tuple[float, Float[np.ndarray, " systems"]]:
        behind = odds[None, :] - odds[:, None]  # [i, j]: by how much i stands behind j
        slope = wins * expit(behind)
        return float((wins * np.logaddexp(0, behind)).sum()), slope.sum(axis=0) - slope.sum(axis=1)

    odds = minimize(loss, np.zeros(len(wins)), jac=True, method="BFGS", options={"gtol": 1e-7}).x
    return ELO * (odds - odds.mean())


def is_connected(wins: Wins) -> bool:
    """Whether comparisons lead from every system to every other."""
    from scipy.sparse.csgraph import connected_components

    return connected_components(wins + wins.T > 0, directed=False)[0] == 1


def resampled_scores(
    by_prompt: Float[np.ndarray, "prompts systems systems"], counts: Int64[np.ndarray, "replicates prompts"]
) -> Float[np.ndarray, "replicates systems"]:
    """The scores in each resample of the prompts. Who met in the whole gets the further tie in every resample."""
    total = by_prompt.sum(axis=0)
    tie = with_a_tie(total) - total
    return np.array([bradley_terry(np.tensordot(times, by_prompt, 1) + tie) for times in counts])


def rank(votes: pd.DataFrame, replicates: int, seed: int) -> pd.DataFrame:
    """Best first: system, score (Elo's points, mean 0), low, high (95 %, bootstrap over prompts), glide, votes.

    A prompt's votes in all comparisons are drawn together. Empty for fewer than three systems, for which a win rate
    says it all, and if comparisons do not connect them.
    """
    systems = sorted({*votes["first"], *votes["second"]})
    by_prompt = wins_by_prompt(votes, systems)
    total = by_prompt.sum(axis=0)
    if len(systems) < 3 or not is_connected(total):
        return pd.DataFrame(columns=RANKING_COLUMNS)
    scores = bradley_terry(with_a_tie(total))
    resampled = resampled_scores(by_prompt, draw_counts(len(by_prompt), replicates, seed))
    bounds = [interval(score, column) for score, column in zip(scores, resampled.T, strict=True)]
    low, high = zip(*bounds, strict=True)
    played = (total + total.T).sum(axis=1).astype(int)
    columns = {"score": scores, "low": low, "high": high, "glide": glide_elo(with_a_tie(total)), "votes": played}
    return pd.DataFrame({"system": systems, **columns}).sort_values("score", ascending=False, ignore_index=True)

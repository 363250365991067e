"""Who voted with care: hurry, gold checks, agreement with the others, one-sidedness; and whose votes are left out.

The paper left out one worker, for disagreeing often with the others and for answering often in under 4 s. Hurry alone
is no reason here either: somebody fast who agrees is merely fast. Results are always given with and without those left
out.
"""

import numpy as np
import pandas as pd

from dalle.config.human import Panel
from eval.human.agreement import self_agreement
from eval.human.questionnaire import Questionnaire
from eval.human.verdicts import CHOICES

RATER_COLUMNS = [
    "rater",
    "votes",
    "median_seconds",
    "hasty",
    "gold",
    "gold_votes",
    "agreement",
    "left",
    "self_agreement",
    "left_out",
    "reason",
]


def judge_raters(votes: pd.DataFrame, questionnaire: Questionnaire, panel: Panel) -> pd.DataFrame:
    """One row a rater; shares are of the rater's own votes and NaN if there are none.

    - median_seconds, hasty: the median time of an answer, and the share of those under ``panel.hasty_seconds``
    - gold, gold_votes: the share of checks passed, and how many there were
    - agreement: the share of votes on pairs that are what most of the *others* chose, where these were not split
    - left: the share of left among left and right; sides are random, so care gives one half
    - self_agreement: :func:`eval.human.agreement.self_agreement`
    - left_out, reason
    """
    judged = votes.assign(
        passed=_passed(votes, questionnaire),
        agrees=_agrees(votes),
        is_hasty=(votes["seconds"] < panel.hasty_seconds).where(votes["seconds"].notna()),
        is_left=(votes["answer"] == "left").where(votes["answer"] != "tie"),
    )
    rows = [_rater(str(name), own) for name, own in judged.groupby("rater")]
    table = pd.DataFrame(rows, columns=RATER_COLUMNS[:-2])
    reasons = [_reason(row, panel) for row in table.itertuples()]
    return table.assign(left_out=[reason != "" for reason in reasons], reason=reasons)


def _rater(name: str, own: pd.DataFrame) -> dict[str, float | int | str]:
    return {
        "rater": name,
        "votes": len(own),
        "median_seconds": own["seconds"].median(),
        "hasty": own["is_hasty"].mean(),
        "gold": own["passed"].mean(),
        "gold_votes": int(own["passed"].notna().sum()),
        "agreement": own["agrees"].mean(),
        "left": own["is_left"].mean(),
        "self_agreement": self_agreement(own),
    }


def _passed(votes: pd.DataFrame, questionnaire: Questionnaire) -> pd.Series:
    """Of votes on checks whether the real picture was chosen; of others NaN."""
    asked = [question.id for question in questionnaire.questions if question.gold]
    is_check = (votes["kind"] == "gold") & votes["question"].isin(asked)
    return (votes["choice"] == "first").astype(float).where(is_check)


def _agrees(votes: pd.DataFrame) -> pd.Series:
    """Of votes on pairs whether most of the others chose the same; NaN where the others are split or nobody."""
    pairs = votes[votes["kind"] == "pair"]
    own = pd.get_dummies(pd.Categorical(pairs["choice"], categories=CHOICES)).to_numpy(dtype=np.int64)
    table = pd.DataFrame(own, index=pairs.index)
    others = table.groupby([pairs["question"], pairs["task_id"]]).transform("sum").to_numpy() - own
    most = others.max(axis=1, initial=0)
    is_clear = ((others == most[:, None]).sum(axis=1) == 1) & (most > 0)
    agrees = pd.Series((others * own).sum(axis=1) == most, index=pairs.index, dtype=float)
    return agrees.where(is_clear).reindex(votes.index)


def _reason(rater: tuple, panel: Panel) -> str:
    """Why a rater is left out; empty for those who are not. A comparison with NaN is False: what is unknown excuses."""
    is_judged = rater.votes >= panel.least_answers
    reasons = {
        f"{_percent(rater.gold)} of {rater.gold_votes} checks passed": rater.gold < panel.min_gold,
        f"{_percent(rater.hasty)} under {panel.hasty_seconds:g} s, {_percent(rater.agreement)} agreement": (
            is_judged and rater.hasty > panel.max_hasty and rater.agreement < panel.min_agreement
        ),
        f"{_percent(rater.left)} left": (is_judged and max(rater.left, 1 - rater.left) > panel.max_one_side),
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

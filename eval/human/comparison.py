"""One comparison: who voted with care, and what the votes say with and without those who did not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dalle.config.human import Panel
from dalle.seeding import seed_for
from eval.human.agreement import alpha_over_prompts, fleiss, self_agreement
from eval.human.quality import judge_raters
from eval.human.ranking import RANKING_COLUMNS, rank
from eval.human.study import Study
from eval.human.verdicts import CHOICES, histogram, tally, verdict
from eval.human.votes import Votes, read_votes

ALL, KEPT = "all", "kept"  # raters: everybody, and without those who were left out
VERDICT_COLUMNS = [
    *("comparison", "first", "second", "question", "raters", "num_raters"),
    *("n", "votes", "wins", "losses", "ties", "no_majority"),
    *(f"{name}{end}" for name in ("majority", "rate", "decided") for end in ("", "_low", "_high")),
    *("shown_alike", "rate_of_all", "kappa", "alpha", "alpha_low", "alpha_high", "self_agreement", "left"),
]
HISTOGRAM_COLUMNS = ["comparison", "question", "raters", *CHOICES, "pairs"]


@dataclass(frozen=True)
class Comparison:
    """What came out of one comparison. Without votes its tables are empty."""

    name: str
    study: Study
    votes: Votes
    raters: pd.DataFrame  # :func:`judge_raters`
    verdicts: pd.DataFrame  # a row for each question and set of raters
    histograms: pd.DataFrame

    @property
    def counting(self) -> pd.DataFrame:
        """The votes on pairs of the raters who were kept, with the contestants as first and second."""
        rows = self.votes.rows
        rows = rows[(rows["kind"] == "pair") & rows["rater"].isin(_kept(self.raters))]
        return rows.assign(first=self.study.first, second=self.study.second)


def compare(name: str, study: Study, files: Sequence[str | Path], panel: Panel, seed: int) -> Comparison:
    """The votes in ``files``, and what they say. Questions without votes on pairs have no rows in the tables."""
    votes = read_votes(files, study)
    raters = judge_raters(votes.rows, study.questionnaire, panel)
    sets = {ALL: votes.rows, KEPT: votes.rows[votes.rows["rater"].isin(_kept(raters))]}
    verdicts, histograms = [], []
    for question in study.questionnaire.questions:
        for label, some in sets.items():
            own = some[some["question"] == question.id]
            if (own["kind"] == "pair").any():
                place = {"comparison": name, "question": question.id, "raters": label}
                verdicts.append(place | _verdict(own, study, panel.replicates, seed_for(seed, "human", name)))
                histograms.append(histogram(tally(own)).assign(**place))
    table = pd.DataFrame(verdicts, columns=VERDICT_COLUMNS)
    return Comparison(name, study, votes, raters, table, stacked(histograms, HISTOGRAM_COLUMNS))


def _kept(raters: pd.DataFrame) -> set[str]:
    return {rater for rater, left_out in zip(raters["rater"], raters["left_out"], strict=True) if not left_out}


def _verdict(votes: pd.DataFrame, study: Study, replicates: int, seed: int) -> dict[str, float | int | str]:
    counts = tally(votes).to_numpy()
    alpha = alpha_over_prompts(counts, replicates, seed)
    sides = votes.loc[votes["answer"] != "tie", "answer"]
    return verdict(votes, study.identical, replicates, seed) | {
        "first": study.first,
        "second": study.second,
        "num_raters": votes["rater"].nunique(),
        "kappa": fleiss(counts),
        **dict(zip(("alpha", "alpha_low", "alpha_high"), alpha, strict=True)),
        "self_agreement": self_agreement(votes),
        "left": float((sides == "left").mean()),
    }


def ranking(comparisons: Sequence[Comparison], replicates: int, seed: int) -> pd.DataFrame:
    """The systems of all comparisons on one scale: :func:`rank` for each question that connects three or more."""
    votes = pd.concat([comparison.counting for comparison in comparisons])
    tables = [
        rank(own, replicates, seed_for(seed, "human", "ranking")).assign(question=question)
        for question, own in votes.groupby("question")
    ]
    return stacked(tables, ["question", *RANKING_COLUMNS])


def stacked(tables: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """The rows of all tables under these columns; without any row, the columns alone."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True)[columns] if filled else pd.DataFrame(columns=columns)

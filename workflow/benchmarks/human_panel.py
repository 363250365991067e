"""A simulated panel of raters: do intervals hold what they promise, is the careless one found, how long does it take?

``make bench-human`` prints it. The truth is known here: of each pair, the first system is the better one with
probability 0.9, and a careful rater sees that in 9 of 10 cases. One rater of five tosses a coin in 2 s.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from dalle.config.human import Panel
from eval.human.comparison import compare
from eval.human.quality import judge_raters
from eval.human.questionnaire import Question, Questionnaire
from eval.human.study import Study
from eval.human.verdicts import Rate, rate_over_prompts
from eval.human.votes import with_key

BETTER, SEEN = 0.9, 0.9  # how often the first system is the better one, how often a careful rater sees which is
TRUTH = BETTER * SEEN + (1 - BETTER) * (1 - SEEN)  # a careful rater's vote is for the first
CARELESS = "careless"
REALISM = Questionnaire(questions=(Question(id="realism", text="Which image is more realistic?", gold=True),))
BOTH = Questionnaire(questions=(*REALISM.questions, Question(id="caption", text="Which matches?", tie="Neither")))


class Outcome(NamedTuple):
    """What one simulated study says of the first system, and who was left out."""

    rate: Rate
    left_out: set[str]


def pretended_study(
    rng: np.random.Generator, pairs: int, gold: int = 6, questionnaire: Questionnaire = REALISM
) -> Study:
    """A study that has a key and no pictures."""
    kinds = rng.permutation(["pair"] * pairs + ["gold"] * gold)
    tasks = [f"task{place:04}" for place in range(len(kinds))]
    sides = rng.permutation(np.array(["left", "right"])[np.arange(len(kinds)) % 2])
    key = {"task_id": tasks, "kind": kinds, "prompt_id": range(len(kinds)), "repeats": "", "first": sides}
    return Study("0" * 16, "ours", "theirs", 5, questionnaire, pd.DataFrame(key))


def simulated_votes(rng: np.random.Generator, study: Study, careful: int = 4) -> pd.DataFrame:
    """Columns: study, rater, task_id, question, answer, seconds. Careful raters never fail a check."""
    key = study.key
    is_gold = (key["kind"] == "gold").to_numpy()
    parts = []
    for question in study.questionnaire.questions:
        is_first_better = (rng.random(len(key)) < BETTER) | is_gold
        for number in range(careful + 1):
            is_careless = number == careful
            sees = (rng.random(len(key)) < (0.5 if is_careless else SEEN)) | (is_gold & (not is_careless))
            is_left = (is_first_better == sees) == (key["first"] == "left").to_numpy()
            rater = CARELESS if is_careless else f"careful{number}"
            seconds = rng.gamma(9, 0.22 if is_careless else 1.0, len(key)).round(3)  # about 2 s, about 9 s
            own = {"study": study.digest, "rater": rater, "task_id": key["task_id"], "question": question.id}
            parts.append(pd.DataFrame(own | {"answer": np.where(is_left, "left", "right"), "seconds": seconds}))
    return pd.concat(parts, ignore_index=True)


def outcome(rng: np.random.Generator, pairs: int, panel: Panel) -> Outcome:
    """One simulated study, judged as real ones are."""
    study = pretended_study(rng, pairs)
    votes = with_key(simulated_votes(rng, study), study.key)
    raters = judge_raters(votes, study.questionnaire, panel)
    left_out = set(raters.loc[raters["left_out"], "rater"])
    counting = votes[(votes["kind"] == "pair") & ~votes["rater"].isin(left_out)]
    worth = (counting["choice"] == "first").astype(float)
    seed = int(rng.integers(2**31))
    return Outcome(rate_over_prompts(worth, counting["prompt_id"], panel.replicates, seed), left_out)


def coverage(runs: int, pairs: int, panel: Panel) -> tuple[float, float, float]:
    """Shares of studies: the interval holds the truth; the careless one was left out; a careful one was left out."""
    found = [outcome(np.random.default_rng([0, run]), pairs, panel) for run in range(runs)]
    holds = [one.rate.low <= TRUTH <= one.rate.high for one in found]
    caught = [CARELESS in one.left_out for one in found]
    wronged = [bool(one.left_out - {CARELESS}) for one in found]
    return float(np.mean(holds)), float(np.mean(caught)), float(np.mean(wronged))


def seconds_for(pairs: int) -> float:
    """What it takes to read 5 votes on each of two questions about ``pairs`` pairs, and to analyse them."""
    rng = np.random.default_rng(0)
    study = pretended_study(rng, pairs, questionnaire=BOTH)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "votes.csv"
        simulated_votes(rng, study).to_csv(file, index=False)
        start = perf_counter()
        compare("simulated", study, [file], Panel(), seed=0)
        return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="simulated studies")
    parser.add_argument("--pairs", type=int, default=256, help="pairs in each of them")
    given = parser.parse_args()
    holds, caught, wronged = coverage(given.runs, given.pairs, Panel(replicates=500))
    print(f"{given.runs} studies of {given.pairs} pairs, 5 raters, one of them careless")
    print(f"  the 95 % interval holds the truth ({TRUTH:.0%}) in {holds:.1%}")
    print(f"  the careless rater is left out in {caught:.1%}, a careful one in {wronged:.1%}")
    print(f"1,000 pairs x 5 votes x 2 questions: read and analysed in {seconds_for(1000):.1f} s")


if __name__ == "__main__":
    main()

"""κ and α on published tables, and by their definitions; agreement with oneself; who is left out and why."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from dalle.config.human import Panel
from eval.human.agreement import alpha, alpha_over_prompts, fleiss, self_agreement
from eval.human.quality import judge_raters
from eval.human.verdicts import CHOICES
from eval.human.votes import with_key
from workflow.benchmarks.human_panel import CARELESS, REALISM, pretended_study, simulated_votes

# Fleiss (1971) as tabulated in textbooks: 10 subjects, 14 raters, 5 categories.
FLEISS_1971 = """0 0 0 0 14, 0 2 6 4 2, 0 0 3 5 6, 0 3 9 2 0, 2 2 8 1 1,
7 7 0 0 0, 3 2 6 3 0, 2 5 3 2 2, 6 5 2 1 0, 0 2 2 3 7"""
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: 4 observers, 12 units, some missing.
KRIPPENDORFF_2011 = (
    """1 2 3 3 2 1 4 1 2 . . ., 1 2 3 3 2 2 4 1 2 5 . 3, . 3 3 3 2 3 4 2 2 5 1 ., 1 2 3 3 2 4 4 1 2 5 1 ."""
)


def table(text: str) -> np.ndarray:
    return np.array([row.split() for row in text.split(",")])


def krippendorff_counts() -> np.ndarray:
    given = table(KRIPPENDORFF_2011)
    return np.stack([(given == value).sum(axis=0) for value in "12345"], axis=1)


def test_kappa_is_that_of_the_published_example() -> None:
    assert fleiss(table(FLEISS_1971).astype(int)) == pytest.approx(0.210, abs=5e-4)


def test_alpha_is_that_of_the_published_example() -> None:
    assert alpha(krippendorff_counts()) == pytest.approx(0.743421, abs=1e-6)


def alpha_by_definition(counts: np.ndarray) -> float:
    """1 - observed / expected disagreement, from all ordered pairs of votes, one after the other."""
    units = [[value for value, times in enumerate(row) for _ in range(times)] for row in counts if row.sum() > 1]
    votes = [value for unit in units for value in unit]
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(a != b for a, b in permutations(votes, 2)) / (len(votes) - 1)
    return 1 - observed / expected


def test_alpha_is_its_definition_with_votes_missing() -> None:
    counts = np.random.default_rng(0).integers(0, 4, (20, 3))
    assert alpha(counts) == pytest.approx(alpha_by_definition(counts))


def test_kappa_takes_the_pairs_with_the_usual_number_of_votes() -> None:
    whole = table(FLEISS_1971).astype(int)
    assert fleiss(np.vstack([whole, [[1, 0, 0, 0, 0], [0, 3, 3, 0, 0]]])) == fleiss(whole)


@pytest.mark.parametrize("counts", [[[5, 0, 0], [5, 0, 0]], [[1, 0, 0], [0, 1, 0]]])
def test_where_nothing_can_differ_agreement_is_unknown(counts: list) -> None:
    assert np.isnan(fleiss(np.array(counts)))
    assert np.isnan(alpha(np.array(counts)))
    assert np.isnan(alpha_over_prompts(np.array(counts), 50, seed=0).low)


def test_alphas_interval_shrinks_with_the_root_of_the_number_of_prompts() -> None:
    few = np.random.default_rng(0).multinomial(5, [0.6, 0.3, 0.1], 100)
    many = np.tile(few, (9, 1))
    narrow, wide = (alpha_over_prompts(counts, 200, seed=0) for counts in (many, few))
    assert narrow.low < narrow.value < narrow.high
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(3, rel=0.2)


def votes(*rows: tuple) -> pd.DataFrame:
    columns = ["rater", "task_id", "kind", "repeats", "choice", "answer", "seconds"]
    return pd.DataFrame(rows, columns=columns).assign(question="realism")


def test_self_agreement_compares_a_repeat_with_its_original() -> None:
    given = votes(
        ("Anna", "t0", "pair", "", "first", "left", 9.0),
        ("Anna", "t5", "repeat", "t0", "first", "right", 9.0),
        ("Bo", "t0", "pair", "", "first", "left", 9.0),
        ("Bo", "t5", "repeat", "t0", "second", "left", 9.0),
        ("Cy", "t5", "repeat", "t0", "second", "left", 9.0),  # never saw the original
    )
    assert self_agreement(given) == 0.5
    assert np.isnan(self_agreement(given[given["rater"] == "Cy"]))
    assert judge_raters(given, REALISM, Panel())["self_agreement"].tolist()[:2] == [1, 0]


def agreement_by_hand(given: pd.DataFrame, rater: str) -> float:
    """Vote by vote: what did most of the others choose?"""
    hits = []
    for _, own in given[(given["rater"] == rater) & (given["kind"] == "pair")].iterrows():
        others = given[(given["task_id"] == own["task_id"]) & (given["rater"] != rater)]["choice"]
        most = [choice for choice in CHOICES if (others == choice).sum() == max((others == c).sum() for c in CHOICES)]
        if len(most) == 1:
            hits.append(own["choice"] == most[0])
    return float(np.mean(hits))


def test_agreement_is_with_what_most_of_the_others_chose() -> None:
    rng = np.random.default_rng(3)
    rows = [
        (rater, f"t{task}", "pair", "", str(rng.choice(CHOICES)), "left", 9.0)
        for task in range(30)
        for rater in "ABCDE"
        if rng.random() < 0.8
    ]
    found = judge_raters(votes(*rows), REALISM, Panel()).set_index("rater")["agreement"]
    assert found.to_dict() == pytest.approx({rater: agreement_by_hand(votes(*rows), rater) for rater in "ABCDE"})


def panel_of(**changes) -> pd.DataFrame:
    """A simulated panel's table of raters; ``changes`` are to the votes of careful0."""
    rng = np.random.default_rng(0)
    study = pretended_study(rng, pairs=60, gold=6)
    given = with_key(simulated_votes(rng, study), study.key)
    for column, value in changes.items():
        given.loc[given["rater"] == "careful0", column] = value
    return judge_raters(given, REALISM, Panel()).set_index("rater")


def test_the_careless_rater_is_left_out_and_nobody_else() -> None:
    found = panel_of()
    assert found.index[found["left_out"]].tolist() == [CARELESS]
    assert found.loc[CARELESS, "hasty"] > 0.9
    assert found.loc[CARELESS, "median_seconds"] == pytest.approx(2, abs=0.3)
    assert found.loc["careful0", "agreement"] > 0.75 > found.loc[CARELESS, "agreement"]
    assert found.loc["careful0", "gold"] == 1 and (found["gold_votes"] == 6).all()


def test_somebody_fast_who_agrees_stays() -> None:
    found = panel_of(seconds=1.0)
    assert found.loc["careful0", "hasty"] == 1
    assert not found.loc["careful0", "left_out"]


def test_somebody_always_on_one_side_is_left_out() -> None:
    assert panel_of(answer="left").loc["careful0", "reason"] == "100 % left"


def test_somebody_who_fails_the_checks_is_left_out() -> None:
    reason = panel_of(choice="second").loc["careful0", "reason"]
    assert reason.startswith("0 % of 6 checks passed")


def test_without_times_checks_or_others_nobody_is_accused() -> None:
    rows = [("Anna", f"t{n}", "pair", "", "first", ("left", "right")[n % 2], float("nan")) for n in range(20)]
    found = judge_raters(votes(*rows), REALISM, Panel()).iloc[0]
    assert not found["left_out"]
    assert np.isnan([found["hasty"], found["gold"], found["agreement"], found["median_seconds"]]).all()


def test_a_handful_of_answers_is_too_few_to_judge_by_hurry_or_side() -> None:
    rows = [("Anna", f"t{n}", "pair", "", "first", "left", 1.0) for n in range(11)]
    assert not judge_raters(votes(*rows), REALISM, Panel())["left_out"].any()


def test_somebody_who_never_decides_is_not_one_sided() -> None:
    rows = [("Anna", f"t{n}", "pair", "", "tie", "tie", 9.0) for n in range(20)]
    found = judge_raters(votes(*rows), REALISM, Panel()).iloc[0]
    assert np.isnan(found["left"]) and not found["left_out"]

"""Bradley–Terry: a published table, closed forms, GLIDE's objective; winners stand higher."""

import numpy as np
import pandas as pd
import pytest

from eval.human.ranking import (
    ELO,
    bradley_terry,
    glide_elo,
    is_connected,
    rank,
    resampled_scores,
    wins_by_prompt,
    with_a_tie,
)

# Agresti, Categorical Data Analysis, American League 1987: how often the row's team beat the column's.
TEAMS = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
PUBLISHED = [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0.0]  # logarithms of odds against Baltimore


def votes(*rows: tuple[int, str, str, str, int]) -> pd.DataFrame:
    """Each row (prompt, first, second, choice) so many times."""
    repeated = [row[:4] for row in rows for _ in range(row[4])]
    return pd.DataFrame(repeated, columns=["prompt_id", "first", "second", "choice"])


@pytest.mark.parametrize("fit", [bradley_terry, glide_elo])
def test_a_published_table_is_fitted_as_published(fit) -> None:
    scores = fit(BASEBALL.astype(float)) / ELO
    assert (scores - scores[-1]).tolist() == pytest.approx(PUBLISHED, abs=2e-3)


@pytest.mark.parametrize("fit", [bradley_terry, glide_elo])
def test_of_two_the_distance_is_the_logarithm_of_their_odds_and_the_winner_stands_higher(fit) -> None:
    first, second = fit(np.array([[0.0, 75.0], [25.0, 0.0]]))
    assert first - second == pytest.approx(400 * np.log10(3), abs=0.01)
    assert first > 0 > second


def test_glides_objective_agrees_with_evalica() -> None:
    wins = np.random.default_rng(0).integers(0, 40, (5, 5)) / 2
    np.fill_diagonal(wins, 0)
    assert glide_elo(with_a_tie(wins)) == pytest.approx(bradley_terry(with_a_tie(wins)), abs=0.05)


def test_wins_are_counted_and_ties_are_half() -> None:
    given = votes((3, "a", "b", "first", 2), (3, "a", "b", "tie", 1), (9, "b", "c", "second", 4))
    wins = wins_by_prompt(given, ["a", "b", "c"])
    assert wins[0].tolist() == [[0, 2.5, 0], [0.5, 0, 0], [0, 0, 0]]
    assert wins[1].tolist() == [[0, 0, 0], [0, 0, 0], [0, 4, 0]]


def test_a_system_that_always_won_has_a_finite_score() -> None:
    rows = [(prompt, "a", "b", "first", 1) for prompt in range(20)]
    rows += [(prompt, "b", "c", ("first", "second")[prompt % 2], 1) for prompt in range(20)]
    found = rank(votes(*rows), 50, seed=0).set_index("system")
    assert found.index[0] == "a"
    assert found.loc["a", "score"] - found.loc["b", "score"] == pytest.approx(400 * np.log10(20.5 / 0.5), abs=0.1)
    assert found.loc["a", "glide"] == pytest.approx(found.loc["a", "score"], abs=0.05)


def test_in_a_resample_that_lost_a_meeting_everybody_still_has_a_score() -> None:
    given = votes((0, "a", "b", "first", 3), (1, "b", "c", "first", 2), (2, "b", "c", "second", 2))
    wins = wins_by_prompt(given, ["a", "b", "c"])
    found = resampled_scores(wins, np.array([[1, 1, 1], [0, 2, 1]]))
    assert found[0] == pytest.approx(bradley_terry(with_a_tie(wins.sum(axis=0))))
    assert found[1] == pytest.approx(glide_elo(np.array([[0, 0.5, 0], [0.5, 0, 4.5], [0, 2.5, 0]])), abs=0.05)


def test_a_ranking_holds_the_truth_and_its_votes() -> None:
    rng, truth = np.random.default_rng(0), {"a": 100.0, "b": 0.0, "c": -100.0}
    rows = []
    for prompt in range(300):
        for first, second in (("a", "b"), ("b", "c")):
            chance = 1 / (1 + 10 ** ((truth[second] - truth[first]) / 400))
            rows += [(prompt, first, second, "first" if rng.random() < chance else "second", 1) for _ in range(5)]
    found = rank(votes(*rows), 100, seed=0).set_index("system")
    assert found.index.tolist() == ["a", "b", "c"]
    assert found["votes"].to_dict() == {"a": 1500, "b": 3000, "c": 1500}
    for system, score in truth.items():
        assert found.loc[system, "low"] < score < found.loc[system, "high"]
        assert found.loc[system, "glide"] == pytest.approx(found.loc[system, "score"], abs=0.05)


def test_two_systems_and_islands_have_no_ranking() -> None:
    assert len(rank(votes((0, "a", "b", "first", 3)), 50, seed=0)) == 0
    assert len(rank(votes((0, "a", "b", "first", 3), (0, "c", "d", "first", 3)), 50, seed=0)) == 0
    assert not is_connected(np.kron(np.eye(2), np.ones((2, 2))))

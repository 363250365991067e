"""From files of votes to tables, figure and words; without votes it says what it waits for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dalle.config.human import Human, Panel
from eval.human.comparison import VERDICT_COLUMNS, compare
from eval.human.report import write_report
from eval.human.study import Study
from workflow.benchmarks.human_panel import BOTH, CARELESS, pretended_study, simulated_votes

PANEL = Panel(replicates=100)
TABLES = ["human", "human_histogram", "human_ranking", "human_raters", "human_rejected"]


def stored(study: Study, folder: Path, alike: int = 0) -> Path:
    """The folder of a study, as :func:`Study.read` reads it, with captions for which both pictures were the same."""
    folder.mkdir()
    identical = pd.DataFrame({"task_id": "", "kind": "identical", "prompt_id": range(900, 900 + alike)})
    pd.concat([study.key, identical]).to_csv(folder / "key.csv", index=False)
    facts = {"digest": study.digest, "first": study.first, "second": study.second, "votes_per_pair": 5}
    facts["questionnaire"] = study.questionnaire.model_dump(mode="json")
    (folder / "study.json").write_text(json.dumps(facts))
    return folder


def reported(tmp_path: Path, votes: dict[str, list[Path]], panel: Panel = PANEL) -> tuple[dict[str, pd.DataFrame], str]:
    """Two comparisons of three systems, the report on them, and its text in one line."""
    studies = {}
    for name, second in (("a-b", "B"), ("a-c", "C")):
        study = pretended_study(np.random.default_rng(0), pairs=40, questionnaire=BOTH)
        study = Study(study.digest, "A", second, 5, BOTH, study.key)
        studies[name] = tmp_path / name if (tmp_path / name).exists() else stored(study, tmp_path / name, alike=3)
    places = {name: f"votes/{name}" for name in studies}
    out = tmp_path / "out"
    write_report(studies, votes, places, panel, 0, out, out / "human.png", out / "human.txt")
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in TABLES}, " ".join(
        (out / "human.txt").read_text(encoding="utf-8").split()
    )


def simulated(tmp_path: Path, seed: int = 0) -> list[Path]:
    study = pretended_study(np.random.default_rng(0), pairs=40, questionnaire=BOTH)
    simulated_votes(np.random.default_rng(seed), study).to_csv(tmp_path / f"votes{seed}.csv", index=False)
    return [tmp_path / f"votes{seed}.csv"]


def test_without_votes_the_files_are_there_and_say_so(tmp_path: Path) -> None:
    tables, text = reported(tmp_path, {"a-b": [], "a-c": []})
    assert text.count("Waiting for votes. 5 votes are wanted on each of 40 pairs") == 2
    assert "Files of votes belong in votes/a-c." in text
    assert all(len(table) == 0 for table in tables.values())
    assert list(tables["human"].columns) == VERDICT_COLUMNS
    assert (tmp_path / "out/human.png").stat().st_size > 1000


def test_votes_become_verdicts_with_and_without_those_left_out(tmp_path: Path) -> None:
    tables, text = reported(tmp_path, {"a-b": simulated(tmp_path), "a-c": []})
    human = tables["human"].set_index(["question", "raters"])
    assert human.loc[("realism", "all"), "num_raters"] == 5
    assert human.loc[("realism", "kept"), "num_raters"] == 4
    assert human.loc[("caption", "kept"), "votes"] == 160
    assert (human[["wins", "losses", "ties", "no_majority"]].sum(axis=1) == 40).all()
    assert human.loc[("realism", "kept"), "rate"] > human.loc[("realism", "all"), "rate"]
    assert set(human["shown_alike"]) == {3}
    assert tables["human_raters"].set_index("rater").loc[CARELESS, "left_out"]
    bars = tables["human_histogram"].groupby(["question", "raters"])["pairs"].sum()
    assert (bars == 40).all() and len(bars) == 4
    assert f"Left out: {CARELESS} (" in text
    assert "People prefer A." in text
    assert "80 of 80 questions have fewer than 5 votes" in text  # four of five raters were kept
    assert text.count("Waiting for votes") == 1


def test_three_systems_are_ranked_and_two_are_not(tmp_path: Path) -> None:
    one, _ = reported(tmp_path, {"a-b": simulated(tmp_path), "a-c": []})
    assert len(one["human_ranking"]) == 0
    both, text = reported(tmp_path, {"a-b": simulated(tmp_path, 0), "a-c": simulated(tmp_path, 1)})
    ranks = both["human_ranking"]
    assert ranks.groupby("question")["system"].first().to_dict() == {"caption": "A", "realism": "A"}
    assert ranks["score"].to_numpy() == pytest.approx(ranks["glide"].to_numpy(dtype=float), abs=0.05)
    assert "Ranking, realism" in text


def test_equal_votes_give_equal_bytes(tmp_path: Path) -> None:
    votes = {"a-b": simulated(tmp_path, 0), "a-c": simulated(tmp_path, 1)}
    runs = []
    for _ in range(2):
        reported(tmp_path, votes)
        runs.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert runs[0] == runs[1]
    assert len(runs[0]) == 2 * len(TABLES) + 3


def test_what_people_wrote_runs_in_no_spreadsheet(tmp_path: Path) -> None:
    file = simulated(tmp_path)[0]
    file.write_text(file.read_text().replace("careful0", "=cmd()") + "@a,b\n")
    tables, text = reported(tmp_path, {"a-b": [file], "a-c": []})
    assert "=cmd()" in set(tables["human_raters"]["rater"])  # the parquet is exact
    assert "'=cmd()" in (tmp_path / "out/human_raters.csv").read_text()
    assert "1 rows were no votes" in text and "of another study: '@a'" in text


def test_if_everybody_is_left_out_the_numbers_are_all_votes_and_it_is_said(tmp_path: Path) -> None:
    panel = Panel(replicates=100, hasty_seconds=1000, max_hasty=0, min_agreement=1)
    tables, text = reported(tmp_path, {"a-b": simulated(tmp_path), "a-c": simulated(tmp_path)}, panel)
    assert set(tables["human"]["raters"]) == {"all"}
    assert text.count("That is everybody") == 2
    assert len(tables["human_ranking"]) == 0


def test_ties_and_repeats_find_their_way_into_the_verdict(tmp_path: Path) -> None:
    study = pretended_study(np.random.default_rng(0), pairs=10, gold=0, questionnaire=BOTH)
    first = dict(zip(study.key["task_id"], study.key["first"], strict=True))
    repeat = {"task_id": "task0010", "kind": "repeat", "prompt_id": 0, "repeats": "task0000", "first": "left"}
    key = pd.concat([study.key, pd.DataFrame([repeat])], ignore_index=True)
    study = Study(study.digest, "A", "B", 1, BOTH, key)
    rows = [
        f"{study.digest},Anna,{task},caption,{'tie' if task > 'task0004' else side},9" for task, side in first.items()
    ]
    rows.append(f"{study.digest},Anna,task0010,caption,right,9")  # A first, then B
    (tmp_path / "v.csv").write_text("study,rater,task_id,question,answer,seconds\n" + "\n".join(rows) + "\n")
    row = compare("a-b", study, [tmp_path / "v.csv"], PANEL, seed=0).verdicts.query("raters == 'kept'").iloc[0]
    assert (row["n"], row["wins"], row["ties"], row["rate"], row["self_agreement"]) == (10, 5, 5, 0.75, 0)
    assert np.isnan(row["alpha"])  # one vote a pair


def test_settings_of_people_are_checked() -> None:
    with pytest.raises(ValueError, match="repeats: 9 is more than pairs = 8"):
        Human(pairs=8, repeats=9)
    with pytest.raises(ValueError, match="a compares dvae with itself"):
        Human(comparisons={"a": ("dvae", "dvae")})
    assert Human(comparisons={"a": ("dalle1@4", "theirs")}).sides == {"a": [("dalle1", 4), ("theirs", None)]}
    for wrong in ("dalle1@0", "dalle1@", "../x", "a b"):
        with pytest.raises(ValueError, match="pattern"):
            Human(comparisons={"a": (wrong, "dvae")})

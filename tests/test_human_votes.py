"""Votes come in from three formats; what is no vote is left out and named with its line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from eval.human.study import Study
from eval.human.votes import Votes, read_votes
from workflow.benchmarks.human_panel import BOTH, pretended_study

STUDY = pretended_study(np.random.default_rng(0), pairs=4, gold=1, questionnaire=BOTH)
HEADER = "study,rater,task_id,question,answer,seconds,answered_at"
GOOD = f"{STUDY.digest},Anna,task0000,realism,left,5.25,2026-01-01T00:00:00Z"


def votes_in(folder: Path, *lines: str, name: str = "votes.csv", encoding: str = "utf-8") -> Votes:
    (folder / name).write_text("\n".join(lines) + "\n", encoding=encoding)
    return read_votes([folder / name], STUDY)


def given(votes: Votes) -> list[tuple]:
    return list(votes.rows[["rater", "task_id", "question", "answer"]].itertuples(index=False, name=None))


def test_a_vote_is_joined_with_its_task(tmp_path: Path) -> None:
    rows = [GOOD, GOOD.replace("left", "right").replace("task0000", "task0001")]
    rows.append(GOOD.replace("realism,left", "caption,tie"))
    votes = votes_in(tmp_path, HEADER, *rows)
    first = dict(zip(STUDY.key["task_id"], STUDY.key["first"], strict=True))
    assert votes.rows["seconds"].tolist() == [5.25] * 3
    assert votes.rows["choice"].tolist() == [
        "first" if first["task0000"] == "left" else "second",
        "first" if first["task0001"] == "right" else "second",
        "tie",
    ]
    prompts = STUDY.key.set_index("task_id")["prompt_id"]
    assert votes.rows["prompt_id"].tolist() == prompts[["task0000", "task0001", "task0000"]].tolist()
    assert len(votes.rejected) == 0


BAD = {
    GOOD.replace(STUDY.digest, "other"): "of another study: 'other'",
    GOOD.replace("Anna", "  "): "no rater",
    GOOD.replace("task0000", "task0009"): "unknown task 'task0009'",
    GOOD.replace("task0000", ""): "unknown task ''",
    GOOD.replace("realism", "beauty"): "unknown question 'beauty'; allowed are realism, caption",
    GOOD.replace("left", "both"): "answer 'both'; allowed are left, right",
    GOOD.replace("left", "tie"): "answer 'tie'; allowed are left, right",
    GOOD.replace("left", "missing"): "an image was missing",
    GOOD.replace("5.25", "-1"): "seconds '-1'",
    GOOD.replace("5.25", "nan"): "seconds 'nan'",
    GOOD.replace("5.25", "soon"): "seconds 'soon'",
    "half a row": "of another study",
}


@pytest.mark.parametrize(("row", "says"), BAD.items())
def test_a_bad_row_is_left_out_and_named(tmp_path: Path, row: str, says: str) -> None:
    votes = votes_in(tmp_path, HEADER, GOOD.replace("task0000", "task0001"), row, GOOD.replace("task0000", "task0002"))
    assert len(votes.rows) == 2
    assert votes.rejected[["file", "line"]].to_numpy().tolist() == [["votes.csv", "3"]]
    assert votes.rejected["reason"].item().startswith(says)


def test_of_duplicates_the_first_counts_across_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(f"{HEADER}\n{GOOD.replace('left', 'right')}\n")
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{GOOD}\n{GOOD}\n{GOOD.replace('Anna', 'Bo')}\n")
    votes = read_votes([tmp_path / "b.csv", tmp_path / "a.csv"], STUDY)
    assert given(votes) == [("Anna", "task0000", "realism", "left"), ("Bo", "task0000", "realism", "left")]
    assert votes.rejected.to_numpy().tolist() == [
        ["a.csv", "3", "duplicate of a.csv, line 2 (left)"],
        ["b.csv", "2", "duplicate of a.csv, line 2 (left)"],
    ]


def test_a_line_is_where_a_row_of_several_lines_begins(tmp_path: Path) -> None:
    two_lines = '"' + GOOD.replace("Anna", "An\nna").replace(",", '","') + '"'
    votes = votes_in(tmp_path, HEADER, two_lines, "", GOOD.replace("task0000", "no"))
    assert votes.rows["rater"].tolist() == ["An\nna"]
    assert votes.rejected["line"].tolist() == ["5"]


def test_a_spreadsheet_may_have_saved_it_with_semicolons_and_a_mark(tmp_path: Path) -> None:
    lines = [line.replace(",", ";") for line in (HEADER, GOOD)]
    votes = votes_in(tmp_path, *lines, encoding="utf-8-sig")
    assert given(votes) == [("Anna", "task0000", "realism", "left")]


def test_equal_names_are_one_rater_however_their_accents_are_coded(tmp_path: Path) -> None:
    votes = votes_in(tmp_path, HEADER, GOOD.replace("Anna", "Zoe\u0308"), GOOD.replace("Anna", " Zo\u00eb "))
    assert len(votes.rows) == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"a,b\n1,2\n", "no votes: the columns are ['a', 'b']; needed are "),
        ("a.csv", b"", "no votes: the columns are []"),
        ("a.csv", b"\xff\xfe\x00", "the file cannot be read: 'utf-8'"),
        ("a.json", b"{", "the file cannot be read: "),
        ("a.json", b"{}", "no votes: Label Studio's JSON export is a list"),
        ("a.json", b'[{"annotations": [{}]}]', "not as Label Studio writes it: KeyError"),
    ],
)
def test_a_file_of_something_else_stops_nothing(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.csv").write_text(f"{HEADER}\n{GOOD}\n")
    votes = read_votes([tmp_path / name, tmp_path / "good.csv"], STUDY)
    assert len(votes.rows) == 1
    assert votes.rejected["reason"].item().startswith(says)


def test_without_files_there_are_no_votes() -> None:
    votes = read_votes([], STUDY)
    assert len(votes.rows) == len(votes.rejected) == 0
    assert {"choice", "kind", "prompt_id"} <= set(votes.rows.columns)


def mturk(folder: Path, study: Study, assignments: list[dict[str, str]]) -> Votes:
    """A result batch as Mechanical Turk lays it out, with a caption of two lines in front."""
    inputs = {"Input.study": study.digest, "Input.caption": 'two\nlines, "quoted"', "AssignmentStatus": "Approved"}
    rows = [{"HITId": "H1", "WorkTimeInSeconds": "12"} | inputs | row for row in assignments]
    with open(folder / "batch.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=sorted({name for row in rows for name in row}), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return read_votes([folder / "batch.csv"], study)


PACKED = json.dumps(
    [{"realism": {"left": False, "right": True}, "caption": {"left": False, "right": False, "tie": True}}]
)


@pytest.mark.parametrize(
    "answers", [{"Answer.realism": "right", "Answer.caption": "tie"}, {"Answer.taskAnswers": PACKED}]
)
def test_an_assignment_of_mechanical_turk_answers_all_its_questions(tmp_path: Path, answers: dict[str, str]) -> None:
    votes = mturk(tmp_path, STUDY, [{"WorkerId": "W1", "Input.task_id": "task0003"} | answers])
    assert given(votes) == [("W1", "task0003", "realism", "right"), ("W1", "task0003", "caption", "tie")]
    assert votes.rows["seconds"].tolist() == [6, 6]  # the assignment's time, shared out


def test_assignments_that_are_no_votes_are_named(tmp_path: Path) -> None:
    task = {"WorkerId": "W1", "Input.task_id": "task0003"}
    rows = [
        task | {"AssignmentStatus": "Rejected", "Answer.realism": "left"},
        task | {"Answer.realism": ""},
        task | {"Answer.realism": "left", "Input.task_id": "task0042"},
        task | {"Answer.realism": "left", "WorkTimeInSeconds": ""},
    ]
    votes = mturk(tmp_path, STUDY, rows)
    assert [line for line in votes.rejected["line"]] == ["2", "4", "6"]  # each row has two lines
    starts = ["the assignment was rejected", "answer ''", "unknown task 'task0042'"]
    assert all(reason.startswith(start) for reason, start in zip(votes.rejected["reason"], starts, strict=True))
    assert votes.rows["answer"].tolist() == ["left"] and np.isnan(votes.rows["seconds"].item())


def choice(question: str, answer: str) -> dict:
    return {"from_name": question, "to_name": "left", "type": "choices", "value": {"choices": [answer]}}


def test_label_studios_annotations_are_votes(tmp_path: Path) -> None:
    both = [choice("realism", "left"), choice("caption", "tie")]
    annotations = [
        {"completed_by": 7, "lead_time": 8.0, "was_cancelled": False, "result": both},
        {"completed_by": {"id": 8, "email": "bo@example.org"}, "result": [choice("realism", "right")]},
        {"completed_by": 9, "was_cancelled": True, "result": []},
        {"completed_by": 9, "result": [choice("realism", "Image 1")]},
        {"result": []},
    ]
    task = {"id": 1, "data": {"study": STUDY.digest, "task_id": "task0002"}, "annotations": annotations}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    votes = read_votes([tmp_path / "export.json"], STUDY)
    assert given(votes) == [
        ("7", "task0002", "realism", "left"),
        ("7", "task0002", "caption", "tie"),
        ("bo@example.org", "task0002", "realism", "right"),
    ]
    assert votes.rows["seconds"].tolist()[:2] == [4, 4]
    assert votes.rejected["line"].tolist() == [f"task 1, annotation {place}" for place in (3, 4, 5)]

"""Votes from files: our page's CSV, Mechanical Turk's result batches, Label Studio's JSON export.

Nothing stops at a bad row. It is left out, and :class:`Votes` says which file and line it was and what was wrong.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from eval.human.study import Study

VOTE_COLUMNS = ["rater", "task_id", "question", "answer", "seconds", "file", "line"]
REJECTED_COLUMNS = ["file", "line", "reason"]
OURS = {"study", "rater", "task_id", "question", "answer", "seconds"}
MTURK = {"WorkerId", "AssignmentStatus", "WorkTimeInSeconds", "Input.study", "Input.task_id"}
ALL_ANSWERS = "Answer.taskAnswers"  # of crowd-form; other forms have a column Answer.QUESTION each


class _Claim(NamedTuple):
    """What a file says, before it is believed."""

    file: str
    line: str  # in JSON, the annotation
    study: str = ""
    rater: str = ""
    task_id: str = ""
    question: str = ""
    answer: str = ""
    seconds: str = ""
    trouble: str = ""  # why it could not even be read


@dataclass(frozen=True)
class Votes:
    """The votes on one comparison.

    ``rows``: rater, task_id, question, answer (left, right or tie), seconds (NaN if unknown), file, line, and from the
    key kind, prompt_id, repeats and choice (first, second or tie). ``rejected``: file, line, reason.
    """

    rows: pd.DataFrame
    rejected: pd.DataFrame


def read_votes(files: Iterable[str | Path], study: Study) -> Votes:
    """All votes in the files, in their order. Of several votes of a rater on the same question the first counts."""
    claims = chain.from_iterable(_claims(Path(file), study) for file in sorted(files, key=str))
    rows, rejected, seen = [], [], {}
    allowed = {question.id: question.answers for question in study.questionnaire.questions}
    tasks = set(study.key["task_id"]) - {""}
    for claim in claims:
        identity = (claim.rater, claim.task_id, claim.question)
        reason = _reason(claim, study.digest, tasks, allowed) or _duplicate(claim, seen.get(identity))
        if reason:
            rejected.append((claim.file, claim.line, reason))
        else:
            seen[identity] = claim
            rows.append((*identity, claim.answer, float(claim.seconds or "nan"), claim.file, claim.line))
    votes = pd.DataFrame(rows, columns=VOTE_COLUMNS).astype({"seconds": float})
    return Votes(with_key(votes, study.key), pd.DataFrame(rejected, columns=REJECTED_COLUMNS, dtype=str))


def _reason(claim: _Claim, digest: str, tasks: set[str], allowed: dict[str, tuple[str, ...]]) -> str:
    """Why a claim is no vote; empty if it is one."""
    answers = allowed.get(claim.question, ())
    problems = [
        (claim.trouble, claim.trouble),
        (claim.study != digest, f"of another study: {claim.study!r}; this one is {digest!r}"),
        (not claim.rater, "no rater"),
        (claim.task_id not in tasks, f"unknown task {claim.task_id!r}"),
        (not answers, f"unknown question {claim.question!r}; allowed are {', '.join(allowed)}"),
        (claim.answer == "missing", "an image was missing"),
        (claim.answer not in answers, f"answer {claim.answer!r}; allowed are {', '.join(answers)}"),
        (not _is_duration(claim.seconds), f"seconds {claim.seconds!r}; allowed is a number ≥ 0, or nothing"),
    ]
    return next((reason for is_wrong, reason in problems if is_wrong), "")


def _is_duration(text: str) -> bool:
    try:
        return text == "" or (isfinite(float(text)) and float(text) >= 0)
    except ValueError:
        return False


def _duplicate(claim: _Claim, earlier: _Claim | None) -> str:
    return f"duplicate of {earlier.file}, line {earlier.line} ({earlier.answer})" if earlier else ""


def with_key(votes: pd.DataFrame, key: pd.DataFrame) -> pd.DataFrame:
    """The votes with what the key knows of their tasks, and what was chosen: first, second or tie."""
    known = key.loc[key["task_id"] != "", ["task_id", "kind", "prompt_id", "repeats", "first"]]
    rows = votes.merge(known, on="task_id", how="left", validate="many_to_one")
    chosen = (rows["answer"] == rows.pop("first")).map({True: "first", False: "second"}).astype(object)
    return rows.assign(choice=chosen.where(rows["answer"] != "tie", "tie"))


def _claims(file: Path, study: Study) -> Iterator[_Claim]:
    """What the file says, whichever of the formats it is in."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".json":
            yield from _of_label_studio(file.name, json.loads(text))
            return
        header, rows = _table(text)
        if set(header) >= MTURK:
            yield from _of_mturk(file.name, rows, study)
        elif set(header) >= OURS:
            yield from (_Claim(file.name, line, **{name: _plain(row[name]) for name in OURS}) for line, row in rows)
        else:
            yield _Claim(file.name, "1", trouble=f"no votes: the columns are {header}; needed are {sorted(OURS)}")
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, csv.Error) as error:
        yield _Claim(file.name, "1", trouble=f"the file cannot be read: {error}")


def _table(text: str) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """The header, and each row with its line in the file. Spreadsheets of some countries write semicolons."""
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    header = next(reader, [])

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        line = reader.line_num + 1  # a row may have several lines: where it begins
        for cells in reader:
            if cells:
                yield str(line), dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))
            line = reader.line_num + 1

    return header, rows()


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _of_mturk(file: str, rows: Iterator[tuple[str, dict[str, str]]], study: Study) -> Iterator[_Claim]:
    """Of every assignment the questions that its batch asked. Its time is shared out evenly among them."""
    for line, row in rows:
        claim = _Claim(file, line, _plain(row["Input.study"]), _plain(row["WorkerId"]), _plain(row["Input.task_id"]))
        answers = _answers(row, [question.id for question in study.questionnaire.questions])
        if row["AssignmentStatus"].strip() == "Rejected":
            yield claim._replace(trouble="the assignment was rejected")
        elif not answers:
            yield claim._replace(trouble="no answer to any of our questions")
        else:
            share = _share(row["WorkTimeInSeconds"].strip(), len(answers))
            yield from (claim._replace(question=name, answer=given, seconds=share) for name, given in answers.items())


def _share(seconds: str, num: int) -> str:
    return str(float(seconds) / num) if seconds and _is_duration(seconds) else seconds


def _answers(row: dict[str, str], questions: list[str]) -> dict[str, str]:
    """Question → answer, from a column each or from crowd-form's [{"realism": {"left": true, "right": false}}]."""
    given: dict[str, Any] = {name: row[f"Answer.{name}"] for name in questions if f"Answer.{name}" in row}
    try:
        packed = json.loads(row.get(ALL_ANSWERS) or "[{}]")[0]
        given |= {name: packed[name] for name in questions if name in packed}
    except (json.JSONDecodeError, LookupError, TypeError):
        given |= dict.fromkeys(questions, "unreadable")
    return {name: _ticked(value) for name, value in given.items()}


def _ticked(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(name for name, is_on in value.items() if is_on is True)
    return _plain(str(value))


def _of_label_studio(file: str, tasks: Any) -> Iterator[_Claim]:
    """Of every annotation of an export (format JSON) its choices. Its time is shared out evenly among them."""
    if not isinstance(tasks, list):
        yield _Claim(file, "1", trouble="no votes: Label Studio's JSON export is a list of tasks")
        return
    for number, task in enumerate(tasks, 1):
        annotations = task.get("annotations") or [] if isinstance(task, dict) else []
        if not isinstance(annotations, list):
            yield _Claim(file, f"task {number}", trouble="not as Label Studio writes it: annotations are a list")
            continue
        for place, annotation in enumerate(annotations, 1):
            claim = _Claim(file, f"task {number}, annotation {place}")
            try:
                yield from _of_annotation(claim, task["data"], annotation)
            except (KeyError, IndexError, TypeError, AttributeError) as error:
                yield claim._replace(trouble=f"not as Label Studio writes it: {type(error).__name__} {error}")


def _of_annotation(claim: _Claim, data: dict[str, Any], annotation: dict[str, Any]) -> list[_Claim]:
    if annotation.get("was_cancelled"):
        return [claim._replace(trouble="the annotation was cancelled")]
    by = annotation["completed_by"]
    rater = _plain(str(by.get("email") or by["id"] if isinstance(by, dict) else by))
    claim = claim._replace(study=str(data["study"]), rater=rater, task_id=str(data["task_id"]))
    given = [(region["from_name"], region["value"]["choices"]) for region in annotation["result"]]
    share = _share(str(annotation.get("lead_time") or ""), len(given))
    return [claim._replace(question=name, answer=", ".join(choices), seconds=share) for name, choices in given]

"""The folder of one comparison: what people get, and apart from it who is who.

- ``public/``: ``index.html``, ``tasks.csv`` and ``images/``. It names no system and does not tell checks from pairs.
- ``mturk/`` and ``label_studio/``: the same tasks for these two, see :mod:`eval.human.exports`.
- ``key.csv``: of every task its kind, its prompt, and of left and right the system, N and candidate.
- ``study.json``: the questionnaire, and the digest of what is shown; every vote carries it.
- ``power.csv``: how many pairs and votes it takes.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dalle.config.human import Human
from dalle.sheets import write_sheet
from eval.human.exports import write_label_studio, write_mturk
from eval.human.page import write_page
from eval.human.pictures import Contestant, label, rendered
from eval.human.power import power_table
from eval.human.questionnaire import Questionnaire
from eval.human.tasks import SIDES, Drawn, Pair, Task, draw_tasks

TASK_COLUMNS = ["task_id", "prompt_id", "caption", "left_image", "right_image"]
KEY_COLUMNS = ["task_id", "kind", "prompt_id", "repeats", "first"] + [
    f"{side}_{name}" for side in SIDES for name in ("system", "n_candidates", "candidate")
]


@dataclass(frozen=True)
class Study:
    """What it takes to understand votes."""

    digest: str
    first: str  # the contestants in plain words
    second: str
    votes_per_pair: int
    questionnaire: Questionnaire
    key: pd.DataFrame  # task_id, kind, prompt_id, repeats, first: the side of the first contestant

    @property
    def identical(self) -> int:
        """Captions that were drawn and show the same picture twice."""
        return int((self.key["kind"] == "identical").sum())

    @classmethod
    def read(cls, folder: str | Path) -> "Study":
        """From the files ``key.csv`` and ``study.json`` of a folder that :func:`write_study` wrote."""
        facts = json.loads((Path(folder) / "study.json").read_text(encoding="utf-8"))
        texts = {"task_id": str, "kind": str, "repeats": str, "first": str}
        key = pd.read_csv(Path(folder) / "key.csv", keep_default_na=False, dtype=texts)
        questionnaire = Questionnaire.model_validate(facts.pop("questionnaire"))
        return cls(**facts, questionnaire=questionnaire, key=key)


def write_study(
    contestants: tuple[Contestant, Contestant],
    gold: tuple[Contestant, Contestant],
    folder: str | Path,
    settings: Human,
    questionnaire: Questionnaire,
    seed: int,
) -> None:
    """Draws the tasks and writes the folder, whole or not at all; it replaces an older one. Equal input, equal bytes.

    Raises ValueError as :func:`eval.human.tasks.draw_tasks`.
    """
    drawn = draw_tasks(contestants, gold, settings, questionnaire, seed)
    if all(task.kind != "pair" for task in drawn.tasks):
        raise ValueError(f"{folder}: no caption shows two different pictures; there is nothing to compare")
    with _whole_folder(Path(folder)) as temporary:
        rows = [_task_row(place, task) for place, task in enumerate(drawn.tasks)]
        digest = _write_images(temporary / "public", drawn.tasks, rows, questionnaire, settings.side)
        write_sheet(rows, temporary / "public" / "tasks.csv", TASK_COLUMNS)
        write_page(digest, rows, questionnaire, temporary / "public" / "index.html")
        write_mturk(digest, rows, questionnaire, settings, temporary / "mturk")
        write_label_studio(digest, rows, questionnaire, settings, temporary / "label_studio")
        write_sheet(_key_rows(drawn), temporary / "key.csv", KEY_COLUMNS)
        write_sheet(power_table(), temporary / "power.csv")
        facts = _facts(digest, drawn, settings, questionnaire)
        (temporary / "study.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def task_name(place: int) -> str:
    """A task's id: where it stands, nothing else."""
    return f"task{place:04}"


def _task_row(place: int, task: Task) -> dict:
    images = {f"{side}_image": f"images/{task_name(place)}-{side}.png" for side in SIDES}
    shown = task.pair[0]
    return {"task_id": task_name(place), "prompt_id": shown.prompt_id, "caption": shown.caption, **images}


def _write_images(folder: Path, tasks: list[Task], rows: list[dict], questionnaire: Questionnaire, side: int) -> str:
    """Writes the pictures as PNG; returns a digest of all that people are shown and asked."""
    digest = hashlib.sha256(questionnaire.model_dump_json().encode())
    (folder / "images").mkdir(parents=True)
    for task, row in zip(tasks, rows, strict=True):
        digest.update(json.dumps([row["task_id"], row["caption"], side]).encode())
        for name, shown in zip(SIDES, task.shown, strict=True):
            pixels = rendered(shown, side)
            digest.update(np.ascontiguousarray(pixels))
            Image.fromarray(pixels).save(folder / row[f"{name}_image"])
    return digest.hexdigest()[:16]


def _key_rows(drawn: Drawn) -> list[dict]:
    rows = [_key_row(task_name(place), task) for place, task in enumerate(drawn.tasks)]
    return rows + [_key_row("", Task("identical", pair, "left")) for pair in drawn.identical]


def _key_row(task_id: str, task: Task) -> dict:
    repeats = "" if task.repeats is None else task_name(task.repeats)
    shown = task.pair[0]
    row = {"task_id": task_id, "kind": task.kind, "prompt_id": shown.prompt_id, "repeats": repeats, "first": task.first}
    for side, shown in zip(SIDES, task.shown, strict=True):
        row |= {f"{side}_{name}": getattr(shown, name) for name in ("system", "n_candidates", "candidate")}
    return row


def _facts(digest: str, drawn: Drawn, settings: Human, questionnaire: Questionnaire) -> dict:
    pair: Pair = next(task.pair for task in drawn.tasks if task.kind == "pair")
    first, second = (label(shown.system, shown.n_candidates) for shown in pair)
    return {
        "digest": digest,
        "first": first,
        "second": second,
        "votes_per_pair": settings.votes_per_pair,
        "questionnaire": questionnaire.model_dump(mode="json"),
    }


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` if the block succeeds and vanishes if it fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp shuts everybody else out
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

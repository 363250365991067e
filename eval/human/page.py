"""The page people answer on: one HTML file beside its pictures, opened from disk, that asks nobody for anything."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dalle.provenance import atomic
from eval.human.questionnaire import Questionnaire

if TYPE_CHECKING:
    from jinja2 import Template

SHOWN = ("id", "text", "tie", "caption")  # of a question; the rest is nobody's business who answers


@cache
def template(name: str) -> "Template":
    """A template of this folder; what is put into it is text, never markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def write_page(digest: str, rows: list[dict], questionnaire: Questionnaire, path: str | Path) -> None:
    """The page of a study. ``rows`` are those of ``tasks.csv``, their texts as they are."""
    study = {
        "digest": digest,
        "questions": [question.model_dump(include=set(SHOWN)) for question in questionnaire.questions],
        "tasks": [
            {"id": row["task_id"], "caption": row["caption"], "left": row["left_image"], "right": row["right_image"]}
            for row in rows
        ],
    }
    with atomic(path) as temporary:
        temporary.write_text(template("page.html.j2").render(study=study), encoding="utf-8")

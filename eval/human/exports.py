"""The tasks for Amazon Mechanical Turk and for Label Studio.

Both show all questions of a task at once, so questions without the caption are a batch or project of their own:
``no_caption`` beside ``caption``. Publish ``no_caption`` first.
"""

import html
import json
from pathlib import Path

from dalle.config.human import Human
from dalle.sheets import FORMULA, write_sheet
from eval.human.page import template
from eval.human.questionnaire import Question, Questionnaire

ENTITIES = {ord(char): f"&#{ord(char)};" for char in FORMULA if not char.isspace()}
MTURK_COLUMNS = ["study", "task_id", "caption", "left_url", "right_url"]


def write_mturk(digest: str, rows: list[dict], questionnaire: Questionnaire, settings: Human, folder: Path) -> None:
    """Batches, ``{part}.csv`` with one row a HIT, and the layouts to paste as a project's design, ``{part}.html``.

    Mechanical Turk puts values into a layout as they are and takes no characters beyond the first 65,536, so captions
    are HTML here.
    """
    folder.mkdir()
    for part, questions in questionnaire.parts.items():
        hits = [
            {
                "study": digest,
                "task_id": row["task_id"],
                "caption": _as_html(row["caption"]) if part == "caption" else "",
                "left_url": _url(settings, row["left_image"]),
                "right_url": _url(settings, row["right_image"]),
            }
            for row in rows
        ]
        write_sheet(hits, folder / f"{part}.csv", MTURK_COLUMNS)
        layout = template("mturk.html.j2").render(questions=questions, caption=part == "caption")
        (folder / f"{part}.html").write_text(layout, encoding="utf-8")


def write_label_studio(
    digest: str, rows: list[dict], questionnaire: Questionnaire, settings: Human, folder: Path
) -> None:
    """Tasks to import, ``{part}.json``, and the labelling interfaces they need, ``{part}.xml``."""
    folder.mkdir()
    for part, questions in questionnaire.parts.items():
        tasks = [{"data": _label_studio_data(digest, row, settings, part)} for row in rows]
        (folder / f"{part}.json").write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
        (folder / f"{part}.xml").write_text(_interface(questions, part == "caption"), encoding="utf-8")


def _label_studio_data(digest: str, row: dict, settings: Human, part: str) -> dict:
    urls = {name: _url(settings, row[f"{name}_image"]) for name in ("left", "right")}
    caption = {"caption": row["caption"]} if part == "caption" else {}
    return {"study": digest, "task_id": row["task_id"], **urls, **caption}


def _interface(questions: tuple[Question, ...], caption: bool) -> str:
    """Label Studio's labelling configuration."""
    return template("label_studio.xml.j2").render(questions=questions, caption=caption)


def _url(settings: Human, image: str) -> str:
    """Below ``settings.image_url``, or relative as in the public folder."""
    if not settings.image_url:
        return image
    return f"{settings.image_url.rstrip('/')}/{image.removeprefix('images/')}"


def _as_html(text: str) -> str:
    """``text`` as HTML. Entities end in semicolons, where some spreadsheets begin a cell: formulas are entities too."""
    escaped = html.escape(text).translate(ENTITIES)
    return "".join(char if ord(char) < 0x10000 else f"&#{ord(char)};" for char in escaped)

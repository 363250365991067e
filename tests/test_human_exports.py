"""Captions stay text wherever they go: in a spreadsheet, on Mechanical Turk, in Label Studio, in the page's script."""

import csv
import json
import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dalle.config.human import Human
from dalle.sheets import disarmed, write_sheet
from eval.human.exports import write_label_studio, write_mturk
from eval.human.page import write_page
from eval.human.questionnaire import load_questionnaire

CAPTIONS = [
    'a "quoted" dog, and a comma',
    "<b>bold</b> & </script><script>alert(1)</script>",
    "=HYPERLINK(1)",
    "a cat 🐈 on a mat",
    "قطة على حصيرة",
    '"a cat" - or "a dog"=b',
    "{{ 7 * 7 }} ${caption}",
]
ROWS = [
    {
        "task_id": f"task{n}",
        "prompt_id": n,
        "caption": text,
        "left_image": f"images/{n}l.png",
        "right_image": "images/r",
    }
    for n, text in enumerate(CAPTIONS)
]


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "＋1", "－1", "＠A1"])
def test_a_formula_is_disarmed(text: str) -> None:
    assert disarmed(text) == "'" + text


def test_a_formula_behind_a_semicolon_is_disarmed() -> None:
    assert disarmed("a;=1; -2; b;c") == "a;'=1;' -2; b;c"


@pytest.mark.parametrize("text", ["", "a = b", "two - three", "e-mail@example.org", "'quoted'", "🐈"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert disarmed(text) == text


def test_a_sheet_gives_texts_back_and_numbers_as_they_are(tmp_path: Path) -> None:
    write_sheet([{"caption": text, "number": -1} for text in CAPTIONS], tmp_path / "a.csv")
    rows = read(tmp_path / "a.csv")
    assert [row["caption"] for row in rows] == [disarmed(text) for text in CAPTIONS]
    assert {row["number"] for row in rows} == {"-1"}


def test_mechanical_turk_gets_one_row_a_hit_with_addresses_and_captions_as_html(tmp_path: Path) -> None:
    settings = Human(image_url="https://example.org/pictures/")
    write_mturk("d1", ROWS, load_questionnaire("dalle1"), settings, tmp_path / "mturk")
    rows = read(tmp_path / "mturk/caption.csv")
    assert [unescape(row["caption"]).removeprefix("'") for row in rows] == CAPTIONS
    assert not any(set(row["caption"]) & set('<>"') or max(row["caption"]) > "\uffff" for row in rows)
    assert rows[0]["left_url"] == "https://example.org/pictures/0l.png"
    assert {row["study"] for row in rows} == {"d1"}
    layout = (tmp_path / "mturk/caption.html").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", layout)) <= set(rows[0])
    choices = re.findall(r'name="(\w+)" value="(\w+)"', layout)
    assert choices == [("realism", s) for s in ("left", "right")] + [("caption", s) for s in ("left", "right", "tie")]


def test_label_studio_gets_tasks_and_an_interface_that_names_their_fields(tmp_path: Path) -> None:
    write_label_studio("d1", ROWS, load_questionnaire("dalle1"), Human(), tmp_path / "ls")
    tasks = [task["data"] for task in json.loads((tmp_path / "ls/caption.json").read_text())]
    assert [task["caption"] for task in tasks] == CAPTIONS
    interface = ElementTree.parse(tmp_path / "ls/caption.xml")
    fields = [value[1:] for tag in interface.iter() if (value := tag.get("value", "")).startswith("$")]
    assert sorted(fields) == ["caption", "left", "right"]
    aliases = {tag.get("name"): [choice.get("alias") for choice in tag] for tag in interface.iter("Choices")}
    assert aliases == {"realism": ["left", "right"], "caption": ["left", "right", "tie"]}


def test_where_a_question_hides_the_caption_it_is_a_batch_of_its_own_without_one(tmp_path: Path) -> None:
    write_mturk("d1", ROWS, load_questionnaire("dalle3"), Human(), tmp_path / "mturk")
    write_label_studio("d1", ROWS, load_questionnaire("dalle3"), Human(), tmp_path / "ls")
    assert {row["caption"] for row in read(tmp_path / "mturk/no_caption.csv")} == {""}
    assert "${caption}" not in (tmp_path / "mturk/no_caption.html").read_text()
    assert not any("caption" in task["data"] for task in json.loads((tmp_path / "ls/no_caption.json").read_text()))
    assert read(tmp_path / "mturk/caption.csv")[0]["caption"]


def test_the_page_holds_its_study_as_data_that_cannot_end_the_script(tmp_path: Path) -> None:
    write_page("d1", ROWS, load_questionnaire("dalle1"), tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    data = re.search(r'<script id="study" type="application/json">(.*?)</script>', text, re.DOTALL)[1]
    study = json.loads(data)
    assert [task["caption"] for task in study["tasks"]] == CAPTIONS
    assert study["questions"][0].keys() == {"id", "text", "tie", "caption"}
    assert "://" not in text  # nothing that could be asked for

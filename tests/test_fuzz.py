"""Whatever comes in from outside, by the thousand: a result, or a ValueError; no other error, and no hang."""

import csv
import io
import json
import re
import signal
import types
import typing
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel

from dalle.config.experiment import Experiment
from dalle.config.human import Human
from dalle.config.models import Tokenizer as TokenizerSettings
from dalle.config.reading import load_config
from dalle.data.oddities import oddities, upright_size
from dalle.gallery import Section, Tile, write_gallery
from dalle.images import decode_picture, read_rows, write_archive
from dalle.manifest import match, prompts_of, read_manifest
from dalle.prompts import encode_cut, strange_words
from dalle.sheets import FORMULA, write_sheet
from dalle.tokenizer import Tokenizer, train_tokenizer
from eval.human.exports import write_label_studio, write_mturk
from eval.human.page import write_page
from eval.human.questionnaire import load_questionnaire
from eval.human.votes import read_votes
from workflow.benchmarks.human_panel import BOTH, pretended_study

STUCK = 240  # seconds: what takes longer than this hangs
STUDY = pretended_study(np.random.default_rng(0), pairs=4, gold=1, questionnaire=BOTH)
SURPRISES = ["", " ", "a,b", 'a "b"', "=1+1", "../x", "/dev/zero", "\0", "é" * 3, "🐈", "1e999", "-1", "nan", "é;\r\n"]
SURPRISES += ["</script><script>alert(1)</script>", "$(touch x)", "{0.__class__}", "{{ 7 * 7 }}", "[red]x[/bold]"]
TEXT = st.text(max_size=40) | st.sampled_from(SURPRISES)
CAPTIONS = st.lists(TEXT.filter(lambda text: not re.search("[\ud800-\udfff]", text)), min_size=1, max_size=5)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**31, 2**63, 2**70])
PLAIN = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def often(num: int) -> settings:
    """The same examples every time."""
    return settings(
        max_examples=num,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def stuck(*_: Any) -> None:
        raise TimeoutError(f"more than {STUCK} s: it hangs")

    signal.signal(signal.SIGALRM, stuck)
    signal.alarm(STUCK)
    yield
    signal.alarm(0)


def groups_of(model: Any) -> list[type[BaseModel]]:
    """The groups of settings that a field may hold, whatever stands around them: Annotated, unions, dicts."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [model]
    return [
        group for part in typing.get_args(model) if not isinstance(part, types.NoneType) for group in groups_of(part)
    ]


def mistaken(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Settings whose keys are right more often than their values."""
    known = {
        name: st.deferred(lambda field=field: st.one_of(VALUES, *map(mistaken, groups_of(field.annotation))))
        for name, field in model.model_fields.items()
    }
    some = st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True)
    chosen = some.flatmap(lambda names: st.fixed_dictionaries({name: known[name] for name in names}))
    return st.tuples(chosen, st.dictionaries(TEXT | st.integers(), VALUES, max_size=1)).map(lambda two: two[0] | two[1])


@given(mistaken(Experiment) | VALUES)
@often(400)
def test_a_config_is_an_experiment_or_one_sentence(values: Any) -> None:
    try:
        assert isinstance(load_config(values), Experiment)
    except ValueError as error:
        assert str(error).startswith("config")


@given(st.text(max_size=200) | VALUES.map(json.dumps) | st.sampled_from(["{", "a: *b", "!!python/x"]))
@often(200)
def test_a_file_of_questions_is_a_questionnaire_or_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ValueError, match=r"q\.yaml: "):
        load_questionnaire(str(tmp_path / "q.yaml"))


# Captions


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("words")
    write_rows(folder / "train.parquet", ["a red circle above a blue square", "two green rings on sand"])
    train_tokenizer(folder / "train.parquet", folder / "tokenizer.json", TokenizerSettings())
    return Tokenizer(folder / "tokenizer.json")


def write_rows(path: Path, captions: list[str]) -> None:
    rows = pd.DataFrame({"prompt_id": range(len(captions)), "candidate": 0, "caption": captions, "scene": ""})
    write_archive(path, rows, np.zeros((len(captions), 8, 8, 3), np.uint8))


@given(CAPTIONS)
@often(200)
def test_any_caption_is_kept_as_it_is_and_read_as_tokens(words: Tokenizer, tmp_path: Path, captions: list[str]) -> None:
    write_rows(tmp_path / "a.parquet", captions)
    assert read_rows(tmp_path / "a.parquet")["caption"].tolist() == captions
    ids = encode_cut(words, captions, 16)
    assert ids.shape == (len(captions), 16)
    assert ((ids >= 0) & (ids < words.vocab_size + 16)).all()
    assert all(isinstance(word, str) for caption in captions for word in strange_words(words, caption))


class Scripts(HTMLParser):
    """What a browser would take for elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)


def tags(path: Path) -> list[str]:
    parser = Scripts()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.tags


@given(CAPTIONS)
@often(100)
def test_no_caption_is_an_element_a_formula_or_a_file(tmp_path_factory, captions: list[str]) -> None:
    folder = tmp_path_factory.mktemp("human")
    images = {"left_image": "images/l.png", "right_image": "images/r.png"}
    rows = [{"task_id": f"t{n}", "prompt_id": n, "caption": text} | images for n, text in enumerate(captions)]
    harmless = [row | {"caption": "a dog"} for row in rows]
    for name, some in (("given", rows), ("harmless", harmless)):
        write_page("d", some, BOTH, folder / name / "index.html")
        write_sheet(some, folder / name / "tasks.csv")
        write_mturk("d", some, BOTH, Human(), folder / name / "mturk")
        write_label_studio("d", some, BOTH, Human(), folder / name / "studio")
    made, usual = (
        {path.relative_to(folder / name): path for path in (folder / name).rglob("*")} for name in ("given", "harmless")
    )
    assert made.keys() == usual.keys()
    assert tags(made[Path("index.html")]) == tags(usual[Path("index.html")])
    for path in made.values():
        if path.suffix == ".csv":
            cells = [
                cell for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")) for cell in row
            ]
            assert not any(cell.startswith(FORMULA) for cell in cells)
        if path.suffix == ".json":
            assert [task["data"]["caption"] for task in json.loads(path.read_text(encoding="utf-8"))][: len(captions)]


@given(CAPTIONS)
@often(30)
def test_any_caption_finds_room_on_a_sheet(tmp_path: Path, captions: list[str]) -> None:
    tile = Tile(np.zeros((8, 8, 3), np.uint8), captions[0])
    write_gallery([Section(caption, [[tile]]) for caption in captions], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"


# Tables of people


def table_of(columns: list[str]) -> st.SearchStrategy[str]:
    """CSV whose columns are right more often than its cells."""
    cells = st.lists(
        st.lists(TEXT | st.sampled_from(["0", "1", "a.png", "left"]), max_size=len(columns) + 1), max_size=5
    )
    heading = st.just(columns) | st.lists(st.sampled_from([*columns, "x"]), max_size=5)
    return st.tuples(heading, cells).map(lambda two: as_csv([two[0], *two[1]]))


def as_csv(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, escapechar="\\").writerows(rows)
    return stream.getvalue()


FILES = st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))


@given(
    FILES | table_of(["file", "prompt_id", "caption", "candidate", "score"]).map(lambda t: t.encode(errors="replace"))
)
@often(400)
def test_a_manifest_is_rows_below_its_folder_or_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(data)
    try:
        rows = read_manifest(tmp_path / "m.csv")
        assert all((tmp_path / name).resolve().is_relative_to(tmp_path.resolve()) for name in rows["file"])
        match(rows, prompts_of(rows), "m.csv")
    except ValueError as error:
        assert "m.csv" in str(error)


OURS = ["study", "rater", "task_id", "question", "answer", "seconds"]
MTURK = ["WorkerId", "AssignmentStatus", "WorkTimeInSeconds", "Input.study", "Input.task_id", "Answer.taskAnswers"]
STUDIO = {
    "data": st.fixed_dictionaries({"study": st.just(STUDY.digest) | VALUES, "task_id": VALUES}) | VALUES,
    "annotations": st.lists(
        st.fixed_dictionaries(
            {"completed_by": VALUES, "result": st.lists(VALUES, max_size=2) | VALUES, "lead_time": VALUES}
        )
        | VALUES,
        max_size=3,
    )
    | VALUES,
}
EXPORTS = st.lists(st.fixed_dictionaries(STUDIO) | VALUES, max_size=3).map(lambda tasks: json.dumps(tasks).encode())
NESTED = st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000])


@given(
    st.sampled_from([".csv", ".json"]),
    FILES | EXPORTS | NESTED | (table_of(OURS) | table_of(MTURK)).map(lambda t: t.encode(errors="replace")),
)
@often(300)
def test_a_file_of_votes_never_stops_the_count(tmp_path: Path, suffix: str, data: bytes) -> None:
    (tmp_path / f"v{suffix}").write_bytes(data)
    votes = read_votes([tmp_path / f"v{suffix}"], STUDY)
    assert set(votes.rows["answer"]) <= {"left", "right", "tie"}
    assert (votes.rejected["reason"] != "").all()


# Pictures


def encoded(kind: str, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert(mode).save(stream, format=kind)
    return stream.getvalue()


WHOLE = [
    encoded(kind, mode)
    for kind, mode in (("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "CMYK"), ("JPEG", "RGB"), ("WEBP", "RGB"))
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture with some bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["change", "cut", "fill"]))
        data[place : place + (0 if how == "fill" else 1)] = (
            b"" if how == "cut" else draw(st.binary(min_size=1, max_size=4))
        )
    return bytes(data[: draw(st.integers(1, len(data)))]) if draw(st.booleans()) else bytes(data)


@given(damaged() | st.binary(max_size=100))
@often(1000)
def test_a_picture_is_pixels_or_one_sentence(data: bytes) -> None:
    width, height = upright_size(data)
    assert width >= 0 and height >= 0
    assert isinstance(oddities(data), set)
    try:
        pixels, _ = decode_picture(data, "a.png")
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    except ValueError as error:
        assert str(error).startswith("a.png: the picture cannot be read")

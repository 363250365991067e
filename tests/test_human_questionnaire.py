"""The questionnaires that come with the project are those of the papers; a wrong one is refused in one line."""

from pathlib import Path

import pytest

from eval.human.questionnaire import FOLDER, Questionnaire, load_questionnaire

PAPERS = {  # of each question: its id, the third answer, whether the caption is shown
    "dalle1": [("realism", None, True), ("caption", "Neither 1 nor 2 match", True)],
    "glide": [
        ("photorealism", "Neither is significantly better", False),
        ("caption_similarity", "Neither is significantly better", True),
    ],
    "unclip": [("photorealism", "Not sure", False), ("caption_similarity", "Not sure", True)],
    "unclip-diversity": [("diversity", "Not sure", True)],
    "dalle3": [("style", None, False), ("coherence", None, False), ("prompt_following", None, True)],
}


def test_the_papers_questionnaires_are_all_there_are() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_asks_what_it_asked(name: str) -> None:
    found = load_questionnaire(name)
    assert [(question.id, question.tie, question.caption) for question in found.questions] == PAPERS[name]
    assert found.pictures == (16 if name == "unclip-diversity" else 1)
    assert Questionnaire.model_validate(found.model_dump(mode="json")) == found


def test_only_a_question_about_the_caption_can_tell_a_check() -> None:
    for name in PAPERS:
        assert all(question.caption for question in load_questionnaire(name).questions if question.gold)


def test_questions_without_the_caption_are_a_part_of_their_own() -> None:
    parts = load_questionnaire("dalle3").parts
    assert [question.id for question in parts["no_caption"]] == ["style", "coherence"]
    assert [question.id for question in parts["caption"]] == ["prompt_following"]
    assert list(load_questionnaire("dalle1").parts) == ["caption"]


def test_the_third_answer_is_only_allowed_where_there_is_one() -> None:
    realism, caption = load_questionnaire("dalle1").questions
    assert (realism.answers, caption.answers) == (("left", "right"), ("left", "right", "tie"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("questions: []", "questions .*at least 1"),
        ("questions: [{id: a, text: A.}, {id: a, text: B.}]", "must differ"),
        ("questions: [{id: a, text: A.}, {id: b, text: B., caption: false}]", "hides the caption stands behind"),
        ("pictures: 5\nquestions: [{id: a, text: A.}]", "make no square grid"),
        ("questions: [{id: A b, text: A.}]", r"questions\.0\.id .*pattern"),
        ("questions: [{id: a, text: A., tei: Neither}]", r"questions\.0\.tei .*not permitted"),
        ("questions: [", "own.yaml: .*expected the node content"),
    ],
)
def test_a_wrong_file_is_named_with_its_mistake(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says) as raised:
        load_questionnaire(str(tmp_path / "own.yaml"))
    assert "\n" not in str(raised.value)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no 'dalle2'; allowed are dalle1, dalle3, glide, unclip, unclip-diversity"):
        load_questionnaire("dalle2")

"""What people are asked: named questionnaires, one YAML file each in ``questionnaires``.

Every question is about two images, 1 (left) and 2 (right). What it may say besides is its ``tie``: "neither", "not
sure". In files an answer is one of ``left``, ``right``, ``tie``.
"""

from math import isqrt
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from dalle.config.reading import read_yaml
from dalle.config.settings import Positive, Settings

FOLDER = Path(__file__).parent / "questionnaires"


class Question(Settings):
    """One question about a pair."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="its name in files")
    text: str = Field(min_length=1, description="as people read it")
    tie: str | None = Field(None, description="what the third answer says; without one the choice is forced")
    caption: bool = Field(True, description="whether the caption is shown with it")
    gold: bool = Field(False, description="whether a picture made for another caption must lose: checks can be told")

    @property
    def answers(self) -> tuple[str, ...]:
        """What may be answered."""
        return ("left", "right", "tie") if self.tie else ("left", "right")


class Questionnaire(Settings):
    """The questions about each pair, in their order. Whoever has read a caption cannot forget it: hidden ones first."""

    pictures: Positive = Field(1, description="of a system for a caption; more than one are shown as a square grid")
    questions: tuple[Question, ...] = Field(min_length=1, description="about each pair, in this order")

    @model_validator(mode="after")
    def _fits_together(self) -> "Questionnaire":
        ids = [question.id for question in self.questions]
        if len(set(ids)) < len(ids):
            raise ValueError(f"questions: {ids} must differ")
        if isqrt(self.pictures) ** 2 != self.pictures:
            raise ValueError(f"pictures: {self.pictures} make no square grid; allowed are 1, 4, 9, 16, …")
        captions = [question.caption for question in self.questions]
        if captions != sorted(captions):
            raise ValueError("questions: one that hides the caption stands behind one that shows it; allowed is before")
        return self

    @property
    def parts(self) -> dict[str, tuple[Question, ...]]:
        """The questions that can stand on one page: those without the caption, those with it; empty parts left out."""
        named = {"no_caption": False, "caption": True}
        parts = {name: tuple(q for q in self.questions if q.caption == shown) for name, shown in named.items()}
        return {name: questions for name, questions in parts.items() if questions}


def load_questionnaire(name: str) -> Questionnaire:
    """The questionnaire of a name, or of a file if ``name`` ends in .yaml.

    Raises ValueError in one line for a name or file that is not there, and for what is wrong in the file.
    """
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise ValueError(f"questionnaire: there is no {name!r}; allowed are {', '.join(known)}, or a .yaml file")
    try:
        return Questionnaire.model_validate(read_yaml(path))
    except ValidationError as error:
        reasons = (".".join(map(str, problem["loc"])) + f" {problem['msg']}" for problem in error.errors())
        raise ValueError(f"{path.name}: {'; '.join(' '.join(reason.split()) for reason in reasons)}") from None

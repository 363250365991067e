"""Comparisons by people: what is shown and asked, and whose votes count."""

from typing import Annotated

from pydantic import Field, model_validator

from dalle.config.settings import Above0, Positive, Settings, Share

ComparisonName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Contender = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*(@[1-9][0-9]*)?$")]  # system, or system@N


class Panel(Settings):
    """Whose votes count, and how sure the numbers are. Shares are of a rater's own answers."""

    hasty_seconds: Above0 = Field(4.0, description="an answer given in less time, seconds, is a hasty one (paper: 4)")
    max_hasty: Share = Field(0.5, description="with more hasty answers and too little agreement a rater is left out")
    min_agreement: Share = Field(0.6, description="agreement with the majority of the others that hasty raters need")
    min_gold: Share = Field(0.8, description="with fewer checks passed a rater is left out")
    max_one_side: Share = Field(0.9, description="with more answers for one side a rater is left out; sides are random")
    least_answers: Positive = Field(12, description="raters with fewer answers are not left out for hurry or one side")
    replicates: int = Field(1000, ge=50, description="resamples of the prompts, from which the intervals are taken")


class Human(Settings):
    """Comparisons by people (paper appendix F): what is shown and asked, and where the votes lie."""

    comparisons: dict[ComparisonName, tuple[Contender, Contender]] = Field(
        {"dalle1-dvae": ("dalle1", "dvae"), "best-first": ("dalle1", "dalle1@1")},
        min_length=1,
        description="two systems each, of suite 'val': SYSTEM@N shows the best of the first N, SYSTEM its largest N",
    )
    questionnaire: str = Field("dalle1", description="what is asked: a name in eval/human/questionnaires, or a .yaml")
    pairs: Positive = Field(64, description="captions a comparison shows, taken from suite 'val' (paper: 1,000)")
    votes_per_pair: Positive = Field(5, description="people who are asked about each pair (paper: 5)")
    gold: int = Field(6, ge=0, description="checks among the pairs: real pictures against pictures of other captions")
    repeats: int = Field(6, ge=0, description="pairs shown again with sides swapped: do people agree with themselves?")
    side: int = Field(512, ge=64, description="side of the square all pictures are shown in, pixels")
    image_url: str = Field(
        "", description="address of the folder images/ for Mechanical Turk and Label Studio; empty: relative names"
    )
    votes: str = Field("votes", description="votes on a comparison are {this folder}/{experiment}/{comparison}/*.csv")
    panel: Panel = Panel()

    @model_validator(mode="after")
    def _fits_together(self) -> "Human":
        if self.repeats > self.pairs:
            raise ValueError(f"repeats: {self.repeats} is more than pairs = {self.pairs}")
        for name, (first, second) in self.comparisons.items():
            if first == second:
                raise ValueError(f"comparisons: {name} compares {first} with itself")
        return self

    @property
    def sides(self) -> dict[str, list[tuple[str, int | None]]]:
        """The two systems of each comparison, each with the N that its pictures were chosen from; None: the largest."""
        return {name: [_contender(text) for text in two] for name, two in self.comparisons.items()}


def _contender(text: str) -> tuple[str, int | None]:
    system, _, number = text.partition("@")
    return system, int(number) if number else None

"""Which pairs people see (paper, appendix F): two pictures of one caption, in random order and on random sides.

Three kinds of tasks look alike:

- ``pair``: the two contestants. **Pictures that are equal pixel by pixel are no task**: a forced choice between them
  would be a coin toss. They stand in the key without a task_id, kind ``identical``, so that an analysis can count them
  as the ties they are (half a win for each, as GLIDE counts) and say among how many captions the systems differed.
- ``gold``: a check, a real picture of the caption against a picture made for another caption.
- ``repeat``: an earlier pair again, sides swapped, to see whether people agree with themselves.
"""

import logging
from typing import NamedTuple

import numpy as np

from dalle.config.human import Human
from dalle.seeding import seed_for
from eval.human.pictures import Contestant, Shown, pictures_of
from eval.human.questionnaire import Questionnaire

SIDES = ("left", "right")
Pair = tuple[Shown, Shown]  # the first contestant's and the second's; of gold, the real picture and the wrong one


class Task(NamedTuple):
    """Two pictures side by side."""

    kind: str
    pair: Pair
    first: str  # the side on which the first of the pair stands
    repeats: int | None = None  # the place of the task that it repeats

    @property
    def shown(self) -> Pair:
        """Left and right."""
        return self.pair if self.first == "left" else self.pair[::-1]


class Drawn(NamedTuple):
    """A comparison: its tasks in the order people see them, and the pairs met that are no tasks."""

    tasks: list[Task]
    identical: list[Pair]


def draw_tasks(
    contestants: tuple[Contestant, Contestant],
    gold: tuple[Contestant, Contestant],
    settings: Human,
    questionnaire: Questionnaire,
    seed: int,
) -> Drawn:
    """``settings.pairs`` pairs, gold checks and repeats in random order; sides are random and balanced.

    ``gold`` are real pictures of the captions, and pictures that were made for other captions; without a question that
    can tell them apart there are no checks. Everything random follows from ``seed`` and the names of the two. If fewer
    captions show two different pictures there are fewer pairs, and a warning says so. Raises ValueError for an N that
    is not in a selection, and for two contestants that do not show the same prompts.
    """
    pictures = questionnaire.pictures
    first, second = (pictures_of(contestant, pictures) for contestant in contestants)
    names = [part for shown in (first, second) for part in _name(shown)]
    rng = np.random.default_rng(seed_for(seed, "human", *names))
    different, identical = _draw_pairs(rng, *_matched(contestants, first, second), settings.pairs)
    if len(different) < settings.pairs:
        logging.getLogger(__name__).warning(
            "%s and %s: %d pairs, not %d; no further captions show two different pictures",
            *(contestant.system for contestant in contestants),
            len(different),
            settings.pairs,
        )
    num_gold = settings.gold if any(question.gold for question in questionnaire.questions) else 0
    checks = _draw_checks(rng, gold, {pair[0].prompt_id for pair in different}, pictures, num_gold)
    tasks = [*_with_sides(rng, "pair", different), *_with_sides(rng, "gold", checks)]
    mixed = [tasks[place] for place in rng.permutation(len(tasks))]
    return Drawn(_with_repeats(rng, mixed, settings.repeats), identical)


def _name(shown: dict[int, Shown]) -> tuple[str, int]:
    one = next(iter(shown.values()))
    return one.system, one.n_candidates


def _matched(
    contestants: tuple[Contestant, Contestant], first: dict[int, Shown], second: dict[int, Shown]
) -> tuple[dict[int, Shown], dict[int, Shown]]:
    if first.keys() != second.keys():
        names = " and ".join(str(contestant.archive) for contestant in contestants)
        raise ValueError(f"{names} show different prompts: they cannot be compared")
    return first, second


def _draw_pairs(
    rng: np.random.Generator, first: dict[int, Shown], second: dict[int, Shown], num: int
) -> tuple[list[Pair], list[Pair]]:
    """Prompts in random order until ``num`` of them show two different pictures: those, and the identical ones met."""
    different, identical = [], []
    for prompt in rng.permutation(sorted(first)).tolist():
        if len(different) == num:
            break
        pair = first[prompt], second[prompt]
        (identical if pair[0].equals(pair[1]) else different).append(pair)
    return different, identical


def _draw_checks(
    rng: np.random.Generator, gold: tuple[Contestant, Contestant], used: set[int], pictures: int, num: int
) -> list[Pair]:
    """``num`` checks, of captions that no pair shows as far as there are any."""
    if not num:
        return []
    real, wrong = (pictures_of(contestant, pictures) for contestant in gold)
    prompts = rng.permutation(sorted(real.keys() & wrong.keys())).tolist()
    fresh_first = sorted(prompts, key=lambda prompt: prompt in used)
    return [(real[prompt], wrong[prompt]) for prompt in fresh_first if not real[prompt].equals(wrong[prompt])][:num]


def _with_sides(rng: np.random.Generator, kind: str, pairs: list[Pair]) -> list[Task]:
    """Each contestant stands left in half of the pairs; an odd one is tossed."""
    places = rng.permutation(np.arange(len(pairs)) % 2 == rng.integers(2))
    return [Task(kind, pair, SIDES[int(place)]) for pair, place in zip(pairs, places, strict=True)]


def _with_repeats(rng: np.random.Generator, tasks: list[Task], num: int) -> list[Task]:
    """The first ``num`` pairs come again, sides swapped, at random places behind them in the second half."""
    early = [place for place, task in enumerate(tasks) if task.kind == "pair"][:num]
    if not early:
        return tasks
    cut = max(len(tasks) // 2, early[-1] + 1)
    again = [Task("repeat", tasks[place].pair, _other(tasks[place].first), place) for place in early]
    late = tasks[cut:] + again
    return tasks[:cut] + [late[place] for place in rng.permutation(len(late))]


def _other(side: str) -> str:
    return SIDES[1 - SIDES.index(side)]

"""Scenes that differ from another in one respect: what a caption must not be confused with."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dalle.data.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, Kind, Scene, Thing, is_clear, place

TRIES = 20  # chance changes until one is allowed; more are never needed unless nothing is

OFTEN = {"colour": 1, "shape": 2, "size": 1, "swap": 5, "count": 1, "relation": 10, "background": 0.5}  # in twins

Change = Callable[[Scene, np.random.Generator], Scene]


def twin(
    scene: Scene, rng: np.random.Generator, image_size: int, lattice: int, is_allowed: Callable[[Scene], bool]
) -> Scene:
    """``scene`` changed in one aspect, drawn by chance: the harder an aspect is to learn, the more often.

    Raises ValueError if no aspect of the scene can be changed as allowed.
    """
    aspects = [aspect for aspect in OFTEN if can_alter(scene, aspect)]
    weights = np.array([OFTEN[aspect] for aspect in aspects])
    order = rng.choice(aspects, size=len(aspects), replace=False, p=weights / weights.sum())
    others = (altered(scene, str(aspect), rng, image_size, lattice, is_allowed) for aspect in order)
    chosen = next((other for other in others if other is not None), None)
    if chosen is None:
        raise ValueError(f"no aspect of the scene {scene.content!r} can be changed without leaving what is allowed")
    return chosen


def altered(
    scene: Scene,
    aspect: str,
    rng: np.random.Generator,
    image_size: int,
    lattice: int,
    is_allowed: Callable[[Scene], bool],
) -> Scene | None:
    """``scene`` with one ``aspect`` of its content changed by chance, the rest kept; None if there is no such change.

    - ``colour``, ``shape``, ``size``: of one kind of thing.
    - ``swap``: the two things exchange their colours.
    - ``count``: one, two or three of a kind become another number; of two different things one is missing.
    - ``relation``: the picture turned by 180° (the caption with its things exchanged), or by a quarter.
    - ``background``.

    Things stay in their places as far as they can. The content always differs ("A above B" is never answered by
    "B below A"). ``is_allowed`` keeps held-out pairs and the validation contents out of training.
    """
    if not can_alter(scene, aspect):
        return None
    for _ in range(TRIES):
        other = CHANGES[aspect](scene, rng)
        if not _fits(other, image_size):
            other = place(rng, [thing.kind for thing in other.things], other.background, image_size, lattice)
        keeps_the_rest = aspect == "count" or len(other.kinds) == len(scene.kinds)
        if keeps_the_rest and other.content != scene.content and is_allowed(other):
            return other
    return None


def can_alter(scene: Scene, aspect: str) -> bool:
    """Whether a scene has ``aspect`` at all: only two different things stand in a relation or can swap colours."""
    if aspect == "relation":
        return len(scene.kinds) == 2
    return aspect != "swap" or len({kind.colour for kind in scene.kinds}) == 2


def _with_attribute(attribute: str, values: tuple[str, ...]) -> Change:
    def change(scene: Scene, rng: np.random.Generator) -> Scene:
        chosen = scene.things[rng.integers(len(scene.things))].kind
        others = [value for value in values if value != getattr(chosen, attribute)]
        instead = chosen._replace(**{attribute: str(rng.choice(others))})
        return _with_kinds(scene, [instead if thing.kind == chosen else thing.kind for thing in scene.things])

    return change


def _swap(scene: Scene, rng: np.random.Generator) -> Scene:
    first, second = (thing.kind for thing in scene.things)
    return _with_kinds(scene, [first._replace(colour=second.colour), second._replace(colour=first.colour)])


def _count(scene: Scene, rng: np.random.Generator) -> Scene:
    if len(scene.kinds) == 2:
        return replace(scene, things=(scene.things[rng.integers(2)],))
    number = int(rng.choice([number for number in (1, 2, 3) if number != len(scene.things)]))
    added = (scene.things[0],) * (number - len(scene.things))  # on top of each other: they will be placed anew
    return replace(scene, things=scene.things[:number] + added)


def _relation(scene: Scene, rng: np.random.Generator) -> Scene:
    """Half of the time the opposite relation, else one of the other axis."""
    first, second = scene.things
    if rng.random() < 0.5:
        return _with_kinds(scene, [second.kind, first.kind])
    return replace(scene, things=tuple(Thing(thing.kind, thing.y, thing.x) for thing in scene.things))


def _background(scene: Scene, rng: np.random.Generator) -> Scene:
    return replace(scene, background=str(rng.choice([name for name in BACKGROUNDS if name != scene.background])))


def _with_kinds(scene: Scene, kinds: list[Kind]) -> Scene:
    things = (replace(thing, kind=kind) for thing, kind in zip(scene.things, kinds, strict=True))
    return replace(scene, things=tuple(things))


CHANGES: dict[str, Change] = {
    "colour": _with_attribute("colour", COLOURS),
    "shape": _with_attribute("shape", SHAPES),
    "size": _with_attribute("size", tuple(SIZES)),
    "swap": _swap,
    "count": _count,
    "relation": _relation,
    "background": _background,
}


def _fits(scene: Scene, image_size: int) -> bool:
    reaches = [(thing, SIZES[thing.kind.size] / 2 + 1) for thing in scene.things]
    inside = all(r <= place <= image_size - r for thing, r in reaches for place in (thing.x, thing.y))
    return inside and is_clear(scene)

"""Scenes in words: several wordings for each content."""

import numpy as np

from dalle.data.scenes import Kind, Scene, Thing

PLACES = {"grass": "on grass", "sand": "on sand", "water": "on water", "night": "at night"}
NUMBERS = {2: "two", 3: "three"}
WORDINGS = ("{things} {place}", "{place}, {things}", "a picture of {things} {place}", "{things}, {place}")


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the true captions of a scene: "a large red circle above a small blue square on sand"."""
    return str(rng.choice(captions(scene)))


def captions(scene: Scene) -> list[str]:
    """Every wording this world has for a scene, in a fixed order."""
    place = PLACES[scene.background]
    return [wording.format(things=things, place=place) for things in _phrases(scene) for wording in WORDINGS]


def _phrases(scene: Scene) -> list[str]:
    if len(scene.things) == 1:
        return [_one(scene.things[0].kind)]
    if len(scene.kinds) == 1:
        return [f"{NUMBERS[len(scene.things)]} {' '.join(scene.things[0].kind)}s"]
    first, second = scene.things
    return [_related(first, second, scene.is_stacked), _related(second, first, scene.is_stacked)]


def _related(first: Thing, second: Thing, is_stacked: bool) -> str:
    if is_stacked:
        relation = "above" if first.y < second.y else "below"
    else:
        relation = "left of" if first.x < second.x else "right of"
    return f"{_one(first.kind)} {relation} {_one(second.kind)}"


def _one(kind: Kind) -> str:
    return f"a {' '.join(kind)}"

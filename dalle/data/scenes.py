"""The embedded picture world: what a scene is, and how one is drawn by chance.

A scene holds one thing, two things in a spatial relation, or two or three things of one kind, on a background.
Everything a caption can say about a picture is a property here, so a picture can be graded exactly.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

SHAPES = ("circle", "square", "triangle", "ring")
COLOURS = ("red", "green", "blue", "yellow")
SIZES = {"small": 14, "large": 22}  # pixels across, in a picture of 64 × 64
BACKGROUNDS = ("grass", "sand", "water", "night")
PLACINGS = {"single": 0.25, "relation": 0.5, "count": 0.25}  # how often each sort of scene is drawn
RESERVED = 12  # one content in so many is kept out of training, for the suite 'val'


class Kind(NamedTuple):
    """What a thing is, wherever it lies."""

    size: str
    colour: str
    shape: str

    @property
    def pair(self) -> str:
        """Its colour×shape pair, as held-out pairs are named in the settings."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Thing:
    """A kind at a place; x to the right and y downwards, the centre in pixels."""

    kind: Kind
    x: int
    y: int


@dataclass(frozen=True)
class Scene:
    """Things on a background. Two things of different kinds lie clearly above/below or left/right of each other."""

    things: tuple[Thing, ...]
    background: str

    @property
    def kinds(self) -> set[Kind]:
        return {thing.kind for thing in self.things}

    @property
    def content(self) -> str:
        """All that a caption says, in one canonical wording: equal for scenes that only differ in exact positions.

        "A above B" and "B below A" are one content.
        """
        if len(self.kinds) == 1:
            return f"{len(self.things)} {' '.join(self.things[0].kind)} | {self.background}"
        first, second = sorted(self.things, key=lambda thing: (thing.y, thing.x) if self.is_stacked else thing.x)
        relation = "above" if self.is_stacked else "left of"
        return f"{' '.join(first.kind)} {relation} {' '.join(second.kind)} | {self.background}"

    @property
    def is_stacked(self) -> bool:
        """Whether the first two things lie above each other rather than side by side."""
        first, second = self.things[:2]
        return abs(first.y - second.y) > abs(first.x - second.x)

    def to_json(self) -> str:
        """The form in which image archives carry a scene."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Scene":
        values = json.loads(text)
        things = (Thing(Kind(*thing["kind"]), thing["x"], thing["y"]) for thing in values["things"])
        return cls(tuple(things), values["background"])


def is_reserved(content: str) -> bool:
    """Whether a content is kept for the suite 'val'; fixed for ever by its wording, whatever the seed."""
    return hashlib.sha256(content.encode()).digest()[0] % RESERVED == 0


def all_kinds(pairs: set[str]) -> list[Kind]:
    """Every kind of thing whose colour×shape pair is among ``pairs``, in a fixed order."""
    kinds = (Kind(size, colour, shape) for size in SIZES for colour in COLOURS for shape in SHAPES)
    return [kind for kind in kinds if kind.pair in pairs]


def all_pairs() -> set[str]:
    """The sixteen colour×shape pairs of this world."""
    return {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES}


def random_scenes(rng: np.random.Generator, pairs: set[str], image_size: int, lattice: int) -> Iterator[Scene]:
    """Endless scenes of the given colour×shape pairs; centres lie on the lattice, nothing overlaps or is cut off."""
    kinds = all_kinds(pairs)
    while True:
        placing = rng.choice(list(PLACINGS), p=list(PLACINGS.values()))
        count = {"single": 1, "relation": 2, "count": int(rng.integers(2, 4))}[placing]
        chosen = rng.choice(len(kinds), size=2 if placing == "relation" else 1, replace=False)
        of_things = [kinds[index] for index in chosen] * (count if len(chosen) == 1 else 1)
        background = str(rng.choice(BACKGROUNDS))
        yield place(rng, of_things, background, image_size, lattice)


def place(rng: np.random.Generator, kinds: list[Kind], background: str, image_size: int, lattice: int) -> Scene:
    """A scene of the given kinds at random places. Raises ValueError if they do not fit into the picture."""
    for _ in range(1000):
        scene = Scene(tuple(_anywhere(rng, kind, image_size, lattice) for kind in kinds), background)
        if is_clear(scene):
            return scene
    raise ValueError(f"{len(kinds)} things do not fit into {image_size} pixels on a lattice of {lattice}")


def _anywhere(rng: np.random.Generator, kind: Kind, image_size: int, lattice: int) -> Thing:
    margin = SIZES[kind.size] / 2 + 1
    places = [place for place in range(0, image_size, lattice) if margin <= place <= image_size - margin]
    return Thing(kind, int(rng.choice(places)), int(rng.choice(places)))


def is_clear(scene: Scene) -> bool:
    """Whether no two things touch and the relation of two different ones is beyond doubt."""
    for number, first in enumerate(scene.things):
        for second in scene.things[:number]:
            across, down = abs(first.x - second.x), abs(first.y - second.y)
            if max(across, down) < (SIZES[first.kind.size] + SIZES[second.kind.size]) / 2 + 2:
                return False
            if first.kind != second.kind and abs(across - down) < 8:
                return False
    return True

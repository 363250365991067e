"""Is it what the caption says? An analytic reader of pictures of the scenes world.

The reader knows the world's paints and stencils and nothing about any model. It gives every pixel to the nearest paint
or ground, cuts each paint's pixels into connected components, and compares each component with every stencil at the
best offset. A picture is right only if its things, their relation and its background are exactly the scene's.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import find_objects, label

from dalle.data.drawing import GROUND, PAINT, stencil
from dalle.data.scenes import SHAPES, SIZES, Kind, Scene, Thing

PARTS = ("number", "colour", "shape", "size", "relation", "background", "clean")
COLOURS = {**PAINT, **GROUND, "star": (190, 190, 200)}
SPECK = 2  # pixels: no real picture has a bigger piece of paint that is no thing
OFFSETS = (-1, 0, 1)  # pixels around the middle of a component's box where a stencil is tried


@dataclass(frozen=True)
class Reading:
    """What a picture shows: a scene, and how well the worst component fits its stencil (IoU; 1 if there is none)."""

    scene: Scene
    fit: float


def read(picture: UInt8[np.ndarray, "h w 3"]) -> Reading:
    """The things of a picture, each with the stencil that fits it best, and the ground that most pixels show."""
    nearest = _nearest_colour(picture)
    found = [
        _best_stencil(component, colour, top, left)
        for number, colour in enumerate(PAINT)
        for component, top, left in _components(nearest == number)
    ]
    things = tuple(thing for thing, _ in found)
    counts = np.bincount(nearest.ravel(), minlength=len(COLOURS))[len(PAINT) : len(PAINT) + len(GROUND)]
    return Reading(Scene(things, list(GROUND)[counts.argmax()]), min((fit for _, fit in found), default=1.0))


def grade(reading: Reading, truth: Scene, threshold: float) -> dict[str, bool]:
    """Each of ``PARTS`` and ``grounded``, their conjunction: whether the picture read is what ``truth`` says.

    ``clean`` asks that every component fits its stencil with an IoU of at least ``threshold``. A part is judged
    leniently where another part is wrong (colours as a multiset, whatever the shapes), and strictly in the conjunction.
    Two things whose kinds are not the wanted ones stand in no relation.

    Not seen: specks of paint of at most ``SPECK`` pixels, and patches of another ground that is not in the majority.
    """
    seen, wanted = reading.scene.things, truth.things
    parts = {
        "number": len(seen) == len(wanted),
        **{part: _multiset(seen, part) == _multiset(wanted, part) for part in ("colour", "shape", "size")},
        "relation": _relation_holds(reading.scene, truth),
        "background": reading.scene.background == truth.background,
        "clean": reading.fit >= threshold,
    }
    kinds_right = sorted(thing.kind for thing in seen) == sorted(thing.kind for thing in wanted)
    return {**parts, "grounded": kinds_right and all(parts.values())}


def fix_threshold(readings: list[Reading], truths: list[Scene], share: float = 0.99) -> float:
    """The highest IoU, in hundredths, that lets ``share`` of real pictures pass; fixed before any sample is looked at.

    Raises ValueError if the reader misreads more than ``1 - share`` of the real pictures whatever the threshold.
    """
    fits = [r.fit for r, truth in zip(readings, truths, strict=True) if grade(r, truth, 0)["grounded"]]
    if len(fits) < share * len(readings):
        raise ValueError(f"the reader is right on {len(fits)} of {len(readings)} real pictures, needed are {share:.0%}")
    surplus = len(fits) - int(np.ceil(share * len(readings)))
    return int(round(100 * sorted(fits)[surplus], 6)) / 100  # rounded first: 100 * 0.29 is 28.999…


def _multiset(things: tuple[Thing, ...], part: str) -> list[str]:
    return sorted(getattr(thing.kind, part) for thing in things)


def _relation_holds(seen: Scene, wanted: Scene) -> bool:
    """True where nothing is said about places: one thing, or several of one kind."""
    if len(wanted.kinds) == 1:
        return True
    places = {thing.kind: thing for thing in seen.things}
    if len(seen.things) != len(wanted.things) or set(places) != wanted.kinds:
        return False
    first, second = wanted.things
    axis = "y" if wanted.is_stacked else "x"
    return seen.is_stacked == wanted.is_stacked and (
        (getattr(first, axis) < getattr(second, axis))
        == (getattr(places[first.kind], axis) < getattr(places[second.kind], axis))
    )


def _nearest_colour(picture: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """The number in ``COLOURS`` of the colour each pixel is nearest to, in RGB."""
    palette = np.array(list(COLOURS.values()), np.float32)  # which holds these whole numbers exactly
    return ((palette**2).sum(-1) - 2 * picture.astype(np.float32) @ palette.T).argmin(-1)


def _components(mask: Bool[np.ndarray, "h w"]) -> list[tuple[Bool[np.ndarray, "a b"], int, int]]:
    numbers, _ = label(mask, structure=np.ones((3, 3)))
    boxes = find_objects(numbers)
    parts = [(numbers[box] == number, box[0].start, box[1].start) for number, box in enumerate(boxes, start=1)]
    return [part for part in parts if part[0].sum() > SPECK]


def _best_stencil(component: Bool[np.ndarray, "a b"], colour: str, top: int, left: int) -> tuple[Thing, float]:
    height, width = component.shape
    y, x = round(top + height / 2), round(left + width / 2)
    fits = np.stack([_fits(component, y - top, x - left, size) for size in SIZES])
    size, shape, dy, dx = np.unravel_index(fits.argmax(), fits.shape)
    kind = Kind(list(SIZES)[size], colour, SHAPES[shape])
    return Thing(kind, x + OFFSETS[dx], y + OFFSETS[dy]), float(fits.max())


def _fits(component: Bool[np.ndarray, "a b"], y: int, x: int, size: str) -> Float64[np.ndarray, "shape dy dx"]:
    """IoU of a component and each stencil whose centre lies at (y, x) of the component's box or ``OFFSETS`` from it."""
    covers = _covers(size)
    side = covers.shape[-1]
    padded = np.pad(component, side // 2 - OFFSETS[0]).astype(float)
    tried = padded[y : y + side + len(OFFSETS) - 1, x : x + side + len(OFFSETS) - 1]
    both = np.tensordot(covers, sliding_window_view(tried, (side, side)), axes=((1, 2), (2, 3)))
    return both / (component.sum() + covers.sum(axis=(1, 2))[:, None, None] - both)


@cache
def _covers(size: str) -> Float64[np.ndarray, "shape s s"]:
    """The pixels that each shape covers by half or more: 1, else 0."""
    return np.stack([stencil(shape, size) >= 0.5 for shape in SHAPES]).astype(float)

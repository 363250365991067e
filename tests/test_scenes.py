"""Scenes: nothing touches or is cut off, a relation is beyond doubt, and equal contents are equal words."""

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from dalle.data.scenes import (
    PLACINGS,
    RESERVED,
    Kind,
    Scene,
    Thing,
    all_kinds,
    all_pairs,
    is_clear,
    is_reserved,
    place,
    random_scenes,
)

RED, BLUE = Kind("large", "red", "circle"), Kind("small", "blue", "square")
ABOVE = Scene((Thing(RED, 32, 16), Thing(BLUE, 40, 48)), "sand")


@pytest.fixture(scope="module")
def many():
    return list(islice(random_scenes(np.random.default_rng(0), all_pairs(), 64, 8), 1500))


def test_a_scene_comes_back_from_its_json(many):
    assert all(Scene.from_json(scene.to_json()) == scene for scene in many)


def test_the_content_says_what_where_and_on_what():
    assert ABOVE.content == "large red circle above small blue square | sand"
    beside = Scene((Thing(BLUE, 48, 32), Thing(RED, 16, 40)), "night")
    assert beside.content == "large red circle left of small blue square | night"
    assert Scene((Thing(BLUE, 48, 32),) * 3, "grass").content == "3 small blue square | grass"


def test_the_order_of_things_and_small_moves_do_not_change_the_content(many):
    for scene in many:
        assert replace(scene, things=scene.things[::-1]).content == scene.content
    moved = replace(ABOVE, things=(Thing(RED, 24, 16), ABOVE.things[1]))
    assert moved.content == ABOVE.content


def test_whatever_a_caption_can_say_changes_the_content():
    first, second = ABOVE.things
    others = [
        replace(ABOVE, background="grass"),
        replace(ABOVE, things=(first,)),
        replace(ABOVE, things=(replace(first, y=48), replace(second, y=16))),
        replace(ABOVE, things=(Thing(RED, 16, 32), Thing(BLUE, 48, 32))),
        *(replace(ABOVE, things=(replace(first, kind=kind), second)) for kind in all_kinds(all_pairs()) if kind != RED),
    ]
    assert len({scene.content for scene in [ABOVE, *others]}) == len(others) + 1


def test_boxes_lie_in_the_picture_on_the_lattice_and_apart(many):
    boxes = {"small": 7, "large": 11}  # half of their sides, pixels
    for scene in many:
        free = np.ones((64, 64), dtype=bool)
        for thing in scene.things:
            assert thing.x % 8 == thing.y % 8 == 0
            half = boxes[thing.kind.size]
            assert half <= thing.x <= 64 - half
            assert half <= thing.y <= 64 - half
            box = free[thing.y - half : thing.y + half, thing.x - half : thing.x + half]
            assert box.all()
            box[:] = False


def test_two_things_lie_clearly_in_one_relation(many):
    for scene in many:
        if len(scene.kinds) == 2:
            first, second = scene.things
            across, down = abs(first.x - second.x), abs(first.y - second.y)
            assert abs(across - down) >= 8
            assert scene.is_stacked == (down > across)


@pytest.mark.parametrize(
    ("x", "y", "clear"),
    [(32, 36, True), (32, 35, False), (48, 40, True), (49, 40, False), (52, 28, True), (52, 29, False)],
)
def test_clear_is_apart_and_off_the_diagonal(x, y, clear):
    assert is_clear(Scene((Thing(RED, 32, 16), Thing(BLUE, x, y)), "sand")) == clear
    assert is_clear(Scene((Thing(BLUE, x, y), Thing(RED, 32, 16)), "sand")) == clear


def test_sorts_of_scenes_are_as_frequent_as_they_should_be(many):
    sorts = Counter(
        "relation" if len(scene.kinds) == 2 else "count" if len(scene.things) > 1 else "single" for scene in many
    )
    for sort, share in PLACINGS.items():
        assert sorts[sort] / len(many) == pytest.approx(share, abs=0.05)
    assert {len(scene.things) for scene in many} == {1, 2, 3}
    assert {kind for scene in many for kind in scene.kinds} == set(all_kinds(all_pairs()))


def test_only_the_given_pairs_occur():
    pairs = {"red circle", "green ring"}
    scenes = islice(random_scenes(np.random.default_rng(1), pairs, 64, 8), 100)
    assert {kind.pair for scene in scenes for kind in scene.kinds} == pairs


def test_the_same_seed_gives_the_same_scenes(many):
    assert list(islice(random_scenes(np.random.default_rng(0), all_pairs(), 64, 8), 20)) == many[:20]


def test_things_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="3 things do not fit into 32 pixels on a lattice of 8"):
        place(np.random.default_rng(0), [RED] * 3, "sand", 32, 8)


def test_a_content_in_twelve_is_reserved_whatever_the_order_of_things(many):
    contents = {scene.content for scene in many}
    assert np.mean([is_reserved(content) for content in contents]) == pytest.approx(1 / RESERVED, abs=0.03)
    assert is_reserved("1 small green square | grass")
    assert not is_reserved("large red circle above small blue square | sand")

"""A caption says the scene's content and nothing else: a parser written apart from the writer reads it back."""

import re
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from dalle.data.captions import WORDINGS, caption, captions
from dalle.data.scenes import Kind, Scene, Thing, all_pairs, random_scenes

RED, BLUE = Kind("large", "red", "circle"), Kind("small", "blue", "square")
ABOVE = Scene((Thing(RED, 32, 16), Thing(BLUE, 32, 48)), "sand")
NIGHT = Scene((Thing(BLUE, 16, 16), Thing(BLUE, 48, 16), Thing(BLUE, 32, 48)), "night")


@pytest.fixture(scope="module")
def many():
    return list(islice(random_scenes(np.random.default_rng(0), all_pairs(), 64, 8), 1500))


def content_of(words):
    """The content a caption tells, in the canonical wording of ``Scene.content``."""
    background = re.search(r"on (grass|sand|water)|at (night)", words)
    things = re.findall(r"(?:a|two|three) (small|large) (red|green|blue|yellow) ([a-z]+?)s?\b", words)
    names = [" ".join(thing) for thing in things]
    ground = background[1] or background[2]
    relation = re.search(r"above|below|left of|right of", words)
    if relation is None:
        number = 3 if "three" in words else 2 if "two" in words else 1
        return f"{number} {names[0]} | {ground}"
    if relation[0] in ("below", "right of"):
        names.reverse()
    return f"{names[0]} {'above' if relation[0] in ('above', 'below') else 'left of'} {names[1]} | {ground}"


def test_every_caption_of_every_scene_tells_its_content(many):
    for scene in many:
        assert {content_of(words) for words in captions(scene)} == {scene.content}


def test_every_wording_of_a_relation_is_told_from_both_ends():
    assert len(captions(ABOVE)) == len(set(captions(ABOVE))) == 2 * len(WORDINGS)
    assert "a large red circle above a small blue square on sand" in captions(ABOVE)
    assert "on sand, a small blue square below a large red circle" in captions(ABOVE)


def test_several_things_of_a_kind_are_counted():
    assert captions(NIGHT) == [
        "three small blue squares at night",
        "at night, three small blue squares",
        "a picture of three small blue squares at night",
        "three small blue squares, at night",
    ]


def test_equal_contents_have_the_same_captions(many):
    for scene in many:
        assert set(captions(replace(scene, things=scene.things[::-1]))) == set(captions(scene))


def test_chance_chooses_among_all_captions():
    rng = np.random.default_rng(0)
    assert {caption(ABOVE, rng) for _ in range(200)} == set(captions(ABOVE))
    assert [caption(ABOVE, np.random.default_rng(5)) for _ in range(3)] == [
        caption(ABOVE, np.random.default_rng(5))
    ] * 3

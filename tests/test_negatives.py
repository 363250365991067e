"""Altered scenes say something else in exactly one respect, and never what training must not see."""

import numpy as np
import pytest

from dalle.data.captions import captions
from dalle.data.facts import fact_table, facts
from dalle.data.negatives import CHANGES, altered, can_alter, twin
from dalle.data.scenes import Kind, Scene, Thing, all_pairs, is_clear, random_scenes

RED, BLUE = Kind("large", "red", "circle"), Kind("small", "blue", "square")
ABOVE = Scene((Thing(RED, 32, 16), Thing(BLUE, 32, 48)), "sand")
THREE = Scene((Thing(BLUE, 16, 16), Thing(BLUE, 48, 16), Thing(BLUE, 32, 48)), "night")


def alter(scene, aspect, seed=0, is_allowed=lambda scene: True):
    return altered(scene, aspect, np.random.default_rng(seed), 64, 8, is_allowed)


@pytest.mark.parametrize("aspect", CHANGES)
def test_the_content_differs_and_so_does_every_caption(aspect):
    for scene in (ABOVE, THREE):
        for other in (alter(scene, aspect, seed) for seed in range(20)):
            if other is not None:
                assert other.content != scene.content
                assert not set(captions(scene)) & set(captions(other))
                assert is_clear(other)


def test_a_changed_relation_keeps_the_things_and_is_never_the_same_scene_told_the_other_way_round():
    contents = {alter(ABOVE, "relation", seed).content for seed in range(30)}
    assert contents == {
        "small blue square above large red circle | sand",
        "large red circle left of small blue square | sand",
        # turned by a quarter, the thing above comes to lie on the left
    }


def test_a_swap_exchanges_the_colours_alone():
    other = alter(ABOVE, "swap")
    assert [thing.kind for thing in other.things] == [Kind("large", "blue", "circle"), Kind("small", "red", "square")]


def test_a_changed_count_is_another_number_of_the_same_or_a_missing_thing():
    assert {len(alter(THREE, "count", seed).things) for seed in range(20)} == {1, 2}
    assert {alter(ABOVE, "count", seed).kinds.pop() for seed in range(20)} == {RED, BLUE}


def test_what_a_scene_does_not_have_cannot_be_altered():
    assert not can_alter(THREE, "relation")
    assert alter(THREE, "relation") is None
    assert alter(ABOVE, "colour", is_allowed=lambda scene: False) is None


def test_twins_are_only_what_is_allowed():
    seen, rng = all_pairs() - {"red circle", "green ring"}, np.random.default_rng(0)
    scenes = random_scenes(rng, seen, 64, 8)
    for _ in range(200):
        scene = next(scenes)
        other = twin(scene, rng, 64, 8, lambda other: {kind.pair for kind in other.kinds} <= seen)
        assert other.content != scene.content
        assert {kind.pair for kind in other.kinds} <= seen
    with pytest.raises(ValueError, match="no aspect of the scene"):
        twin(ABOVE, rng, 64, 8, lambda other: False)


def test_facts_are_equal_for_equal_contents_and_only_for_them():
    scenes = random_scenes(np.random.default_rng(1), all_pairs(), 64, 8)
    by_content, by_facts = {}, {}
    for scene in (next(scenes) for _ in range(1500)):
        assert by_content.setdefault(scene.content, facts(scene)) == facts(scene)
        assert by_facts.setdefault(frozenset(facts(scene)), scene.content) == scene.content
    table = fact_table([ABOVE, THREE], sorted(facts(ABOVE) | facts(THREE)))
    assert table.sum(1).tolist() == [len(facts(ABOVE)), len(facts(THREE))]

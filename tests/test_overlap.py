"""Near-duplicates in training: the same things at the same places, whatever the ground."""

from dataclasses import replace

from dalle.data.overlap import find_overlap
from dalle.data.scenes import Kind, Scene, Thing

RED, BLUE = Thing(Kind("large", "red", "circle"), 16, 16), Thing(Kind("small", "blue", "ring"), 48, 16)
SCENE = Scene((RED, BLUE), "sand")


def overlaps(scene, *training):
    table = find_overlap({"val": [scene]}, training)
    assert list(table.columns) == ["suite", "prompt_id", "overlap"]
    return table["overlap"].item()


def test_ground_and_order_of_the_things_do_not_count():
    assert overlaps(SCENE, SCENE)
    assert overlaps(SCENE, Scene((BLUE, RED), "night"))


def test_places_kinds_and_numbers_do():
    moved = replace(RED, x=24)
    assert not overlaps(SCENE, Scene((moved, BLUE), "sand"))
    assert not overlaps(SCENE, Scene((RED,), "sand"))
    assert not overlaps(SCENE, Scene((RED, replace(BLUE, kind=Kind("small", "green", "ring"))), "sand"))
    assert not overlaps(SCENE)


def test_every_picture_of_every_suite_has_a_row():
    table = find_overlap({"val": [SCENE, Scene((RED,), "sand")], "zeroshot": [SCENE]}, [SCENE])
    assert table.to_numpy().tolist() == [["val", 0, True], ["val", 1, False], ["zeroshot", 0, True]]

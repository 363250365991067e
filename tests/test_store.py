"""The store knows pictures by their pixels and spaces by what they are, never by a name."""

import subprocess
import sys

import numpy as np
import pytest

from dalle.provenance import ROOT
from eval.store import FeatureStore, picture_key


def picture(seed, shape=(4, 6, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def seen(*seeds):
    """Features and logits that belong to pictures, so that a mix-up shows."""
    return {picture_key(picture(s)): (np.full(3, s, np.float32), np.full(2, -s, np.float32)) for s in seeds}


def found(store, *seeds):
    known = store.find([picture_key(picture(s)) for s in seeds])
    return {s: known[picture_key(picture(s))][0][0] for s in seeds if picture_key(picture(s)) in known}


def test_a_key_is_the_pixels_and_their_arrangement():
    assert picture_key(picture(0)) == picture_key(picture(0).copy())
    assert picture_key(picture(0)[:, ::-1]) == picture_key(np.ascontiguousarray(picture(0)[:, ::-1]))
    changed = picture(0)
    changed[3, 5, 2] ^= 1
    turned = picture(0).reshape(6, 4, 3)  # the same bytes, another picture
    assert len({picture_key(image) for image in (picture(0), changed, turned)}) == 3


def test_segments_add_up_and_what_is_unknown_is_not_there(tmp_path):
    store = FeatureStore(tmp_path, "network a")
    assert found(store, 1) == {}
    store.add(seen(1, 2))
    store.add(seen(3))
    store.add({})
    assert found(store, 3, 1, 9) == {3: 3.0, 1: 1.0}
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    np.testing.assert_array_equal(store.find(seen(2))[picture_key(picture(2))][1], [-2, -2])


def test_another_space_knows_nothing(tmp_path):
    FeatureStore(tmp_path, "network a").add(seen(1))
    assert found(FeatureStore(tmp_path, "network b"), 1) == {}
    assert found(FeatureStore(tmp_path, "network a"), 1) == {1: 1.0}


def test_adding_the_same_pictures_twice_keeps_one_segment(tmp_path):
    store = FeatureStore(tmp_path, "network a")
    store.add(seen(1, 2))
    store.add(seen(1, 2))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_a_segment_that_fails_leaves_nothing(tmp_path):
    store = FeatureStore(tmp_path, "network a")
    with pytest.raises(ValueError, match="shape"):
        store.add({b"1" * 32: (np.zeros(3), np.zeros(2)), b"2" * 32: (np.zeros(4), np.zeros(2))})
    assert not list(tmp_path.rglob("*"))


def test_what_another_job_is_writing_is_not_read(tmp_path):
    store = FeatureStore(tmp_path, "network a")
    store.add(seen(1))
    (store.folder / ".0123abcd-segment.safetensors").write_bytes(b"half a segm")
    assert found(store, 1, 2) == {1: 1.0}


WRITER = """
import sys
import numpy as np
from eval.store import FeatureStore
store, own = FeatureStore(sys.argv[1], "network a"), int(sys.argv[2])
for number in range(60):
    key = bytes([own, number]) * 16
    store.add({key: (np.full(3, own, np.float32), np.full(2, number, np.float32))})
    store.find([key])
"""


def test_jobs_that_write_and_read_side_by_side_lose_nothing(tmp_path):
    asked = [[sys.executable, "-c", WRITER, str(tmp_path), str(own)] for own in (1, 2)]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for command in asked]
    assert [process.communicate()[1] for process in running] == ["", ""]
    known = FeatureStore(tmp_path, "network a").find([bytes([own, n]) * 16 for own in (1, 2) for n in range(60)])
    assert {(int(features[0]), int(logits[0])) for features, logits in known.values()} == {
        (own, number) for own in (1, 2) for number in range(60)
    }

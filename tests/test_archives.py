"""The splits keep what they promise: contents, pairs and captions of the suites are not in the training set."""

import json
from itertools import repeat

import numpy as np
import pandas as pd
import pytest

from dalle.config.data import Scenes
from dalle.data import archives
from dalle.data.archives import SUITES, held_out_pairs, write_scenes
from dalle.data.captions import captions
from dalle.data.scenes import Kind, Scene, Thing, all_pairs, is_reserved
from dalle.images import read_archive, read_rows

SETTINGS = Scenes(train=300, uncaptioned=20, val=24, zeroshot=16)
HELD_OUT = set(SETTINGS.held_out)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_scenes(SETTINGS, 0, folder)
    return folder


def scenes(path):
    return [Scene.from_json(text) for text in read_rows(path)["scene"]]


def pairs(scene):
    return {kind.pair for kind in scene.kinds}


def test_every_split_has_its_size(data):
    names = ("train", "uncaptioned", "val", "val_real", "zeroshot", "zeroshot_real")
    sizes = {name: len(read_rows(data / f"{name}.parquet")) for name in names}
    assert sizes == dict(zip(names, (300, 20, 24, 24, 16, 16), strict=True))


def test_training_pictures_have_neither_held_out_pairs_nor_reserved_contents(data):
    for scene in scenes(data / "train.parquet"):
        assert not pairs(scene) & HELD_OUT
        assert not is_reserved(scene.content)


def test_the_suites_are_reserved_contents_and_held_out_pairs(data):
    assert all(is_reserved(scene.content) and not pairs(scene) & HELD_OUT for scene in scenes(data / "val.parquet"))
    assert all(pairs(scene) & HELD_OUT for scene in scenes(data / "zeroshot.parquet"))
    seen = set.union(*map(pairs, scenes(data / "zeroshot.parquet") + scenes(data / "uncaptioned.parquet")))
    assert seen >= HELD_OUT


def test_captions_are_true_and_those_of_a_suite_distinct(data):
    for name in ("train", "val", "zeroshot"):
        rows = read_rows(data / f"{name}.parquet")
        assert all(row.caption in captions(Scene.from_json(row.scene)) for row in rows.itertuples())
    assert all(read_rows(data / f"{suite}.parquet")["caption"].is_unique for suite in SUITES)
    assert set(read_rows(data / "uncaptioned.parquet")["caption"]) == {""}


@pytest.mark.parametrize("suite", SUITES)
def test_the_real_pictures_are_others_of_the_same_captions(data, suite):
    rows, pixels = read_archive(data / f"{suite}.parquet")
    others, other_pixels = read_archive(data / f"{suite}_real.parquet")
    assert others["caption"].tolist() == rows["caption"].tolist()
    for text, other in zip(rows["scene"], others["scene"], strict=True):
        assert Scene.from_json(other).content == Scene.from_json(text).content
    assert (rows["scene"] != others["scene"]).mean() > 0.5  # placed anew
    assert (pixels != other_pixels).any((1, 2, 3)).all()  # and textured anew wherever the places are the same


def test_the_report_counts_what_the_files_hold(data):
    report = json.loads((data / "report.json").read_text())
    train = read_rows(data / "train.parquet")
    assert report["pictures"] == {"train": 300, "uncaptioned": 20, "val": 24, "zeroshot": 16}
    assert report["distinct_training_captions"] == train["caption"].nunique()
    assert report["distinct_training_contents"] == len({scene.content for scene in scenes(data / "train.parquet")})
    assert report["held_out"] == sorted(HELD_OUT)
    for suite in SUITES:
        assert report["overlap"][suite]["captions"] == report["overlap"][suite]["contents"] == 0


def test_an_overlap_would_be_reported(data, tmp_path, monkeypatch):
    thing = Thing(Kind("large", "red", "circle"), 32, 32)
    monkeypatch.setattr(archives, "val_scenes", lambda settings, seed: repeat(Scene((thing,), "sand")))
    monkeypatch.setattr(archives, "train_scenes", lambda settings, seed: repeat(Scene((thing,), "sand")))
    write_scenes(SETTINGS.model_copy(update={"val": 4}), 0, tmp_path)
    overlap = json.loads((tmp_path / "report.json").read_text())["overlap"]
    assert overlap["val"] == {"captions": 1.0, "contents": 1.0, "pictures": 1.0}
    assert overlap["zeroshot"]["captions"] == overlap["zeroshot"]["contents"] == 0.0


def test_equal_scenes_of_different_splits_have_textures_of_their_own(tmp_path, monkeypatch):
    same = Scene((Thing(Kind("large", "red", "circle"), 32, 32),), "sand")
    monkeypatch.setattr(archives, "val_scenes", lambda settings, seed: repeat(same))
    monkeypatch.setattr(archives, "train_scenes", lambda settings, seed: repeat(same))
    write_scenes(SETTINGS.model_copy(update={"train": 4, "val": 4}), 0, tmp_path)
    pixels = np.concatenate([read_archive(tmp_path / f"{name}.parquet")[1] for name in ("train", "val")])
    assert len({picture.tobytes() for picture in pixels}) == 8


def test_all_follows_from_the_seed_and_suites_do_not_depend_on_the_training_set(data, tmp_path):
    smaller = SETTINGS.model_copy(update={"train": 30})
    write_scenes(smaller, 0, tmp_path / "again")
    write_scenes(smaller, 1, tmp_path / "other")
    for suite in SUITES:
        (rows, pixels), (again, same), (_, others) = (
            read_archive(folder / f"{suite}_real.parquet") for folder in (data, tmp_path / "again", tmp_path / "other")
        )
        assert rows.equals(again)
        assert np.array_equal(pixels, same)
        assert not np.array_equal(pixels, others)
    assert read_rows(tmp_path / "again/train.parquet").equals(read_rows(data / "train.parquet")[:30])


@pytest.mark.parametrize("wrong", [(), ("red hexagon",), tuple(all_pairs())], ids=["none", "unknown", "all"])
def test_pairs_that_cannot_be_held_out_are_refused(wrong):
    with pytest.raises(ValueError, match=r"data\.held_out: .*; allowed are some, not all, of"):
        held_out_pairs(SETTINGS.model_copy(update={"held_out": wrong}))


def test_more_captions_than_the_world_has_are_refused(tmp_path, monkeypatch):
    thing = Thing(Kind("large", "red", "circle"), 32, 32)
    monkeypatch.setattr(archives, "val_scenes", lambda settings, seed: repeat(Scene((thing,), "sand")))
    with pytest.raises(ValueError, match="no 5 distinct captions for the suite, only 4; ask for fewer"):
        write_scenes(SETTINGS.model_copy(update={"val": 5}), 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_overlap_is_a_training_picture_with_the_same_things_at_the_same_places(data):
    table = pd.read_parquet(data / "overlap.parquet")
    training = scenes(data / "train.parquet") + scenes(data / "uncaptioned.parquet")
    for suite in SUITES:
        expected = [
            any(set(scene.things) == set(other.things) for other in training)
            for scene in scenes(data / f"{suite}.parquet")
        ]
        found = table[table["suite"] == suite].sort_values("prompt_id")["overlap"].tolist()
        assert found == expected
        report = json.loads((data / "report.json").read_text())["overlap"]
        assert report[suite]["pictures"] == sum(expected) / len(expected)

"""From a source to the files of an experiment: who is in them, how they are cut, and an account that adds up."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from little_source import report_of, solid, synthetic, write_from
from PIL import Image

from dalle.config.data import Coco, Cub, Folder
from dalle.data.crops import centred
from dalle.data.oddities import RULES
from dalle.data.real import choose_prompts, write_photographs
from dalle.images import read_archive, read_rows
from dalle.provenance import ROOT

SHARED = ROOT.parent / "shared" / "data"
SETTINGS = {"views": 3, "dvae_views": 2, "image_size": 64}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """The data of an experiment with the small COCO."""
    if not SHARED.exists():
        pytest.skip("the small COCO is not here")
    folder = tmp_path_factory.mktemp("coco")
    write_photographs(Coco(folder=str(SHARED / "coco"), **SETTINGS), 0, folder)
    return folder


def captions_of(folder):
    return pd.read_parquet(folder / "captions.parquet").set_index("prompt_id")


def original(name):
    return Image.open(SHARED / "coco" / name).convert("RGB")


def test_the_report_has_the_numbers_of_the_sources(coco):
    report = report_of(coco)
    assert report["delivered"]["val"] == {"pictures": 191, "captioned": 191, "captions": 955}
    assert report["delivered"]["train"] == {"pictures": 80, "captioned": 80, "captions": 400}
    assert report["pictures"] == {
        "train": 240, "uncaptioned": 160, "val": 191, "val_reference": 191, "val_real": 191
    }  # fmt: skip
    assert report["pictures"] == {name: len(read_rows(coco / f"{name}.parquet")) for name in report["pictures"]}
    assert set(report["odd_pictures"]) == set(RULES)


def test_training_pictures_have_their_own_captions_and_views_different_ones(coco):
    rows, known = read_rows(coco / "train.parquet"), captions_of(coco)
    assert (known.loc[rows["prompt_id"], "caption"].to_numpy() == rows["caption"]).all()
    assert set(known.loc[rows["prompt_id"], "split"]) == {"train"}
    rows["image_id"] = known.loc[rows["prompt_id"], "image_id"].to_numpy()
    assert set(rows.groupby("image_id")["caption"].nunique()) == {3}
    assert (rows["image_id"] == np.repeat(rows["image_id"][::3].to_numpy(), 3)).all()  # views of a picture together
    assert rows["image_id"].unique().tolist() != sorted(rows["image_id"].unique())  # pictures in a drawn order


def test_the_first_view_is_cut_in_the_middle_and_others_by_chance(coco):
    rows, pixels = read_archive(coco / "train.parquet")
    files = captions_of(coco).loc[rows["prompt_id"], "file"]
    whole = np.stack([centred(original(file), 64) for file in files])
    is_first = rows["candidate"] == 0
    assert (pixels[is_first] == whole[is_first]).all()
    assert (pixels[~is_first] != whole[~is_first]).any(axis=(1, 2, 3)).mean() > 0.9


def test_prompts_are_one_caption_of_every_picture_of_the_suite(coco):
    rows, pixels = read_archive(coco / "val.parquet")
    known = captions_of(coco).loc[rows["prompt_id"]]
    assert known["image_id"].nunique() == 191
    assert set(known["used"]) == {"prompt"}
    assert (pixels == np.stack([centred(original(file), 64) for file in known["file"]])).all()
    prompts = pd.read_csv(coco / "prompts.csv")
    assert prompts["prompt_id"].tolist() == rows["prompt_id"].tolist()
    ids = "\n".join(map(str, sorted(prompts["prompt_id"])))
    assert report_of(coco)["prompts"]["digest"] == hashlib.sha256(ids.encode()).hexdigest()


def test_other_pictures_for_the_prompts_are_of_training(coco):
    rows, pixels = read_archive(coco / "val_real.parquet")
    assert rows[["prompt_id", "caption"]].equals(read_rows(coco / "val.parquet")[["prompt_id", "caption"]])
    train, known = read_archive(coco / "train.parquet")
    centres = {picture.tobytes() for picture in known[train["candidate"] == 0]}
    assert {picture.tobytes() for picture in pixels} == centres  # 80 pictures, each twice or three times


def test_archives_do_not_depend_on_the_workers_and_differ_by_seed(coco, tmp_path):
    settings = Coco(folder=str(SHARED / "coco"), workers=1, **SETTINGS)
    write_photographs(settings, 0, tmp_path / "again")
    write_photographs(settings, 1, tmp_path / "other")
    for name in ("train.parquet", "uncaptioned.parquet", "val_real.parquet", "report.json"):
        same = (coco / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == same
        assert (tmp_path / "other" / name).read_bytes() != same


ROWS = pd.DataFrame(
    {"prompt_id": range(100, 112), "picture": np.arange(12) // 3, "caption": [*"abcAefghijba"], "image_id": "x"}
)


def test_fewer_prompts_are_the_first_of_more_and_seeds_draw_others():
    every = choose_prompts(ROWS, "all", None, 0)
    assert sorted(every["prompt_id"]) == ROWS["prompt_id"].tolist()
    assert choose_prompts(ROWS, "all", 5, 0).equals(every.iloc[:5])
    assert choose_prompts(ROWS, "all", None, 1)["prompt_id"].tolist() != every["prompt_id"].tolist()


def test_prompts_are_one_a_picture_or_every_distinct_one():
    assert sorted(choose_prompts(ROWS, "one", None, 0)["picture"]) == [0, 1, 2, 3]
    unique = choose_prompts(ROWS, "unique", None, 0)
    assert sorted(unique["caption"]) == [*"abcefghij"]
    assert sorted(unique["prompt_id"])[:3] == [100, 101, 102]  # the first of the equal ones


def test_more_prompts_than_captions_are_refused():
    with pytest.raises(ValueError, match=r"data.prompts: 5 is more than the 4 captions of the suite \(one\)"):
        choose_prompts(ROWS, "one", 5, 0)


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    """Three captioned classes of the small CUB and one without captions, half of the tested pictures held back."""
    if not SHARED.exists():
        pytest.skip("the small CUB is not here")
    folder, whole = tmp_path_factory.mktemp("cub"), SHARED / "cub"
    classes = ("001", "002", "003", "011")  # tested, trained on, trained on, trained on without captions
    listed = {name: (whole / name).read_text(encoding="utf-8").split("\n") for name in ("images.txt", "classes.txt")}
    for name, lines in listed.items():
        here = [line for line in lines if line.partition(" ")[2].startswith(classes)]
        (folder / name).write_text("\n".join(here))
    for path in sorted((whole / "images").iterdir()):
        if path.name.startswith(classes):
            (folder / "images").mkdir(exist_ok=True)
            (folder / "images" / path.name).symlink_to(path)
    table = pd.read_csv(whole / "captions.csv")
    table[table["image"].str.startswith(classes)].to_csv(folder / "captions.csv", index=False)
    names = (whole / "zeroshot_test_filenames.txt").read_text().split("\n")
    (folder / "test.txt").write_text("\n".join(name for name in names if name.startswith("001.")))
    given = {"captions_from": "captions.csv", "test_names": "test.txt", "held_back": 0.5}
    write_photographs(Cub(folder=str(folder), **given, **SETTINGS), 0, folder / "data")
    return folder / "data"


def test_uncaptioned_pictures_are_for_the_dvae_and_every_picture_is_once_cut_in_the_middle(cub):
    known = captions_of(cub)
    train, uncaptioned = (read_rows(cub / f"{name}.parquet") for name in ("train", "uncaptioned"))
    pictures = {name: set(known.loc[rows["prompt_id"], "image_id"]) for name, rows in
                (("train", train), ("uncaptioned", uncaptioned))}  # fmt: skip
    of_training = known[known["split"] == "train"]
    assert pictures["uncaptioned"] == set(of_training["image_id"])
    assert pictures["train"] == set(of_training[of_training["caption"] != ""]["image_id"])
    assert set(uncaptioned["caption"]) == {""}
    assert set(uncaptioned.groupby("prompt_id").size()) == {2}
    middle = pd.concat([rows[rows["candidate"] == 0] for rows in (train, uncaptioned)])["prompt_id"]
    assert sorted(known.loc[middle, "image_id"]) == sorted(of_training["image_id"].unique())


def test_held_back_pictures_are_neither_prompt_nor_reference(cub):
    known = captions_of(cub)
    reference, pixels = read_archive(cub / "val_reference.parquet")
    assert len(reference) == 30  # of the 60 of the class
    assert set(known[known["used"] == "held back"]["image_id"]).isdisjoint(
        known.loc[reference["prompt_id"], "image_id"]
    )
    prompts = read_rows(cub / "val.parquet")
    assert set(known.loc[prompts["prompt_id"], "image_id"]) == set(known.loc[reference["prompt_id"], "image_id"])
    assert prompts["caption"].str.lower().is_unique  # CUB's rule: the unique captions
    others = read_archive(cub / "val_real.parquet")[1]
    assert len({picture.tobytes() for picture in others}) == 30
    assert {picture.tobytes() for picture in others}.isdisjoint(picture.tobytes() for picture in pixels)


def test_other_pictures_are_of_the_same_category_where_they_can(tmp_path):
    source, files = synthetic([solid(n, 2 * n, 3 * n) for n in range(1, 9)])
    rows = source.rows.assign(split=["train"] * 4 + ["val"] * 4, category=["a", "b", "a", "b", "b", "a", "c", "b"])
    written = write_from(tmp_path, rows, files)
    reds = read_archive(tmp_path / "val_real.parquet")[1][:, 0, 0, 0]
    of_prompt = {int(each): int(red) for each, red in zip(written["prompt_id"], reds, strict=True)}
    assert {of_prompt[4], of_prompt[7]} == {2, 4}
    assert of_prompt[5] in (1, 3)
    assert of_prompt[6] in (1, 2, 3, 4)


def test_where_there_is_no_split_for_the_suite_one_is_drawn_or_it_is_an_error(tmp_path):
    source, files = synthetic([solid(n, n, n) for n in range(1, 11)])
    with pytest.raises(ValueError, match=r"photographs: there is no split 'val'; its splits are \['train'\]"):
        write_from(tmp_path, source.rows, files)
    with pytest.raises(ValueError, match=r"data\.draw_val: 0\.04 of 10 captioned pictures is none"):
        write_from(tmp_path, source.rows, files, draw_val=0.04)
    prompts = write_from(tmp_path, source.rows, files, draw_val=0.3)
    trained = read_rows(tmp_path / "train.parquet")["prompt_id"]
    assert (len(prompts), len(trained)) == (3, 7)
    assert set(prompts["prompt_id"]).isdisjoint(trained)


def test_nothing_left_to_train_on_and_a_suite_to_train_on_are_refused(tmp_path):
    source, files = synthetic([solid(1, 1, 1)])
    with pytest.raises(ValueError, match="photographs: no training caption passes the filters"):
        write_from(tmp_path, source.rows.assign(caption="one"), files)
    with pytest.raises(ValueError, match="photographs: no training caption passes the filters"):
        write_from(tmp_path, source.rows.assign(caption=""), files)
    with pytest.raises(ValueError, match="val: 'train' is among the splits to train on"):
        Folder(folder="x", val="train")


def test_filters_take_from_training_alone_and_are_in_the_report(tmp_path):
    source, files = synthetic([solid(n, n, n) for n in range(1, 7)])
    captions = ["a picture", "the second picture", "the third picture", "über the fourth", "five", "über the sixth"]
    rows = source.rows.assign(split=["train"] * 4 + ["val"] * 2, caption=captions)
    prompts = write_from(tmp_path, rows, files)
    assert sorted(prompts["caption"]) == ["five", "über the sixth"]
    assert set(read_rows(tmp_path / "train.parquet")["caption"]) == {"the second picture", "the third picture"}
    assert captions_of(tmp_path)["taken_by"].tolist() == ["caption length", "", "", "language", "", ""]
    assert set(read_rows(tmp_path / "uncaptioned.parquet")["prompt_id"]) == {0, 1, 2, 3}  # the dVAE needs no caption
    taken = {step["step"]: step["captions"] for step in report_of(tmp_path)["filters"]}
    assert taken == {
        "delivered": 0,
        "aspect ratio": 0,
        "caption length": 1,
        "language": 1,
        "banned captions": 0,
        "unreadable": 0,
    }


def test_fewer_training_pictures_are_drawn(coco, tmp_path):
    write_photographs(Coco(folder=str(SHARED / "coco"), pictures=10), 0, tmp_path)
    assert report_of(tmp_path)["pictures"]["train"] == 10
    every = read_rows(coco / "train.parquet")["prompt_id"].map(captions_of(coco)["image_id"]).unique()
    some = read_rows(tmp_path / "train.parquet")["prompt_id"].map(captions_of(tmp_path)["image_id"])
    assert some.tolist() == every[:10].tolist()
    with pytest.raises(ValueError, match=r"data\.pictures: 81 is more than the 80 pictures to train on"):
        write_photographs(Coco(folder=str(SHARED / "coco"), pictures=81), 0, tmp_path)

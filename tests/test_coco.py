"""COCO's own layout and Karpathy's splits: the real numbers, and every half set says what is missing."""

import json
from pathlib import Path

import pytest

from dalle.data.sources.coco import read_coco, read_karpathy
from dalle.data.sources.table import BLANK
from dalle.listing import OTHERS
from dalle.provenance import ROOT

COCO = ROOT.parent / "shared" / "data" / "coco"
real = pytest.mark.skipif(not COCO.exists(), reason="the small COCO is not here")


@pytest.fixture
def small(tmp_path):
    """Two training and six validation pictures, two captions each, without the small COCO's real pixels."""
    for split, num, start in (("train", 2, 1), ("val", 6, 10)):
        (tmp_path / f"{split}2017").mkdir()
        ids = range(start, start + num)
        images = [{"id": n, "file_name": f"{n:012}.jpg", "width": 64, "height": 48} for n in ids]
        captions = [
            {"id": 10 * n + k, "image_id": n, "caption": f" Caption {k}\n of {n} "} for n in ids for k in (0, 1)
        ]
        write(tmp_path, split, images, captions)
        for image in images:
            (tmp_path / f"{split}2017" / image["file_name"]).write_bytes(image["file_name"].encode())
    return tmp_path


def path_of(folder, split):
    return folder / "annotations" / f"captions_{split}2017.json"


def write(folder, split, images, annotations):
    path_of(folder, split).parent.mkdir(exist_ok=True)
    path_of(folder, split).write_text(json.dumps({"images": images, "annotations": annotations}))


@real
def test_the_small_coco_has_the_numbers_of_its_sources():
    source = read_coco(COCO, 2017)
    counts = source.rows.groupby("split").agg(captions=("prompt_id", "size"), pictures=("image_id", "nunique"))
    assert counts.to_dict("index") == {
        "train": {"captions": 400, "pictures": 80},
        "val": {"captions": 955, "pictures": 191},
    }
    assert set(source.rows.groupby("image_id").size()) == {5}
    first = source.rows.query("split == 'val'").iloc[0]
    assert (first["image_id"], first["width"], first["height"]) == ("139", 128, 128)
    assert source.read(first["picture"]) == (COCO / "val2017" / "000000000139.jpg").read_bytes()


@real
def test_captions_of_all_5000_pictures_miss_4809_of_them(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").symlink_to(COCO / "val2017")
    path_of(tmp_path, "val").symlink_to(COCO / "annotations" / "captions_val2017_all5000.json")
    with pytest.raises(ValueError, match=r"val2017: missing pictures: 4809 \(\d+.jpg(, \d+.jpg){4}, …\)$"):
        read_coco(tmp_path, 2017, ("val",))


def test_rows_are_captions_with_single_spaces_and_read_gives_their_picture(small):
    rows = read_coco(small, 2017).rows
    assert rows["caption"].tolist()[:3] == ["Caption 0 of 1", "Caption 1 of 1", "Caption 0 of 2"]
    assert rows["prompt_id"].tolist()[:3] == [10, 11, 20]
    source = read_coco(small, 2017, ("val",))
    assert [source.read(picture).decode() for picture in source.pictures["picture"]] == [
        f"{n:012}.jpg" for n in range(10, 16)
    ]


def test_a_half_set_says_which_pictures_are_missing_and_how_many(small):
    for path in sorted((small / "val2017").iterdir()):
        path.unlink()
    (small / "val2017" / "new.jpg").touch()
    with pytest.raises(ValueError, match=r"missing pictures: 6 \(000000000010.jpg, .*14.jpg, …\); .*: 1 \(new.jpg\)"):
        read_coco(small, 2017)


def test_other_files_are_counted_and_no_picture_is_overlooked(small):
    assert read_coco(small, 2017).notes == {OTHERS: 0, BLANK: 0}
    (small / "train2017" / "Thumbs.db").touch()
    (small / "val2017" / "notes.txt").touch()
    assert read_coco(small, 2017).notes[OTHERS] == 2
    (small / "val2017" / "more.png").touch()
    with pytest.raises(ValueError, match=r"pictures that are not in captions_val2017.json: 1 \(more.png\)"):
        read_coco(small, 2017)
    (small / "val2017" / "more.png").rename(small / "val2017" / "more.bmp")
    with pytest.raises(ValueError, match=r"val2017: pictures in a format that is not read: 1 \(more.bmp\)"):
        read_coco(small, 2017)


def test_empty_captions_are_left_out_and_counted(small):
    said = json.loads(path_of(small, "val").read_text())
    said["annotations"][0]["caption"] = "\n"
    write(small, "val", said["images"], said["annotations"])
    source = read_coco(small, 2017)
    assert (len(source.rows), source.notes[BLANK]) == (15, 1)
    said["annotations"][0]["caption"] = None
    write(small, "val", said["images"], said["annotations"])
    with pytest.raises(ValueError, match="captions that are no text: 1"):
        read_coco(small, 2017)


@pytest.mark.parametrize(
    ("images", "annotations", "complaint"),
    [
        ([{"id": 1}], [], "no list 'images' whose entries all have"),
        (None, [], "no list 'images'"),
        ([], [{"id": 1, "image_id": 7, "caption": "a"}], r"captions of pictures that are not listed: 1 \(7\)"),
    ],
)
def test_captions_of_another_form_are_refused(small, images, annotations, complaint):
    write(small, "val", images, annotations)
    with pytest.raises(ValueError, match=complaint):
        read_coco(small, 2017)


def test_a_picture_without_a_caption_and_a_caption_there_twice_are_refused(small):
    said = json.loads(path_of(small, "val").read_text())
    write(small, "val", said["images"], said["annotations"][2:])
    with pytest.raises(ValueError, match=r"pictures without a caption: 1 \(000000000010.jpg\)"):
        read_coco(small, 2017)
    write(small, "val", said["images"], [*said["annotations"], said["annotations"][0]])
    with pytest.raises(ValueError, match=r"prompt_id more than once: 1 \(100\)"):
        read_coco(small, 2017)


def test_what_is_no_json_or_not_there_is_named(small):
    path_of(small, "val").write_text("{")
    with pytest.raises(ValueError, match=r"captions_val2017\.json: it is no JSON"):
        read_coco(small, 2017)
    with pytest.raises(ValueError, match=r"captions_train2014\.json: the captions cannot be read"):
        read_coco(small, 2014)


def karpathy(folder: Path, splits: list[str]) -> Path:
    images = []
    for number, split in enumerate(splits):
        place = {"filepath": "val2014" if number % 2 else "train2014", "filename": f"{number}.jpg"}
        (folder / place["filepath"]).mkdir(exist_ok=True)
        (folder / place["filepath"] / place["filename"]).write_bytes(b"%d" % number)
        said = [{"sentid": 2 * number + k, "raw": f"Number {number}.", "tokens": ["number"]} for k in (0, 1)]
        images.append(place | {"split": split, "cocoid": 500 + number, "sentences": said})
    file = folder / "dataset_coco.json"
    file.write_text(json.dumps({"images": images, "dataset": "coco"}))
    return file


def test_karpathys_splits_go_across_the_folders(tmp_path):
    source = read_karpathy(tmp_path, karpathy(tmp_path, ["train", "restval", "val", "test", "test"]))
    assert source.pictures["split"].tolist() == ["train", "restval", "val", "test", "test"]
    assert source.rows["caption"].tolist()[6:8] == ["Number 3."] * 2
    assert source.rows["prompt_id"].tolist() == list(range(10))
    assert source.pictures["file"].tolist()[:2] == ["train2014/0.jpg", "val2014/1.jpg"]
    assert [source.read(picture) for picture in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert source.of_split("train", "restval")["image_id"].tolist() == ["500", "500", "501", "501"]
    with pytest.raises(ValueError, match=r"no split 'dev'; its splits are \['restval', 'test', 'train', 'val'\]"):
        source.of_split("train", "dev")


def test_karpathys_file_and_its_folders_have_the_same_pictures(tmp_path):
    file = karpathy(tmp_path, ["train", "val"])
    (tmp_path / "train2014" / "0.jpg").rename(tmp_path / "train2014" / "9.jpg")
    with pytest.raises(ValueError, match=r"missing pictures: 1 \(train2014/0.jpg\); .*: 1 \(train2014/9.jpg\)"):
        read_karpathy(tmp_path, file)


@pytest.mark.parametrize("sentences", [None, ["a caption"], [{"raw": "a caption"}]])
def test_karpathys_sentences_have_their_text_and_number(tmp_path, sentences):
    file = karpathy(tmp_path, ["train", "val"])
    said = json.loads(file.read_text())
    said["images"][1]["sentences"] = sentences
    file.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"whose sentences are no list with raw and sentid: 1 \(val2014/1.jpg\)"):
        read_karpathy(tmp_path, file)

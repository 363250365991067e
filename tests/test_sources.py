"""The common table, and the doors for anybody's pictures: imagefolder, parquet, shards, hub and stream."""

import io
import json
import logging
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalle.__main__ import main
from dalle.config.data import Columns, Cub
from dalle.data.sources.arrow import LEFT_OUT, keep_of_stream, read_hub, read_parquet
from dalle.data.sources.doors import open_source
from dalle.data.sources.imagefolder import read_imagefolder
from dalle.data.sources.shards import read_shards
from dalle.data.sources.table import BLANK, make_source, measured
from dalle.images import decode_picture
from dalle.listing import OTHERS

COLUMNS = Columns()


def picture(number, size=(40, 30)):
    """A PNG file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number, 2 * number, 255 - number)).save(buffer, "PNG")
    return buffer.getvalue()


def row(number, **more):
    place = {"image_id": number, "caption": f"caption {number}", "split": "train", "file": f"{number}.png"}
    return place | {"prompt_id": number, "picture": number} | more


def test_a_source_tidies_captions_and_fills_what_is_not_said():
    source = make_source("birds", [row(0, caption=" a\u00a0 bird\n")], picture)
    expected = {"caption": "a bird", "category": "", "width": 0, "height": 0, "image_id": "0"}
    assert {name: source.rows[name].item() for name in expected} == expected


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "birds: there is no picture in it"),
        ([row(0), row(0, split="val", prompt_id=1)], r"birds: pictures in two splits: 1 \(0\)"),
        ([row(n % 7) for n in range(14)], r"prompt_id more than once: 7 \(0, 1, 2, 3, 4, …\)"),
        ([row(0), row(1, caption=None), row(2, caption=7)], r"birds: captions that are no text: 2 \(None, 7\)"),
        ([row(0, prompt_id="first")], "birds: numbers of captions, widths and heights are whole numbers"),
    ],
)
def test_a_source_without_pictures_or_with_some_twice_is_refused(rows, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_source("birds", rows, picture)


def test_empty_captions_are_left_out_and_counted_unless_a_picture_has_no_other():
    said = [("a bird", 0), (" ", 0), ("", 0), ("", 1), ("", 1), ("a jay", 2)]
    rows = [row(number, caption=caption, picture=picture) for number, (caption, picture) in enumerate(said)]
    source = make_source("birds", [each | {"image_id": each["picture"]} for each in rows], picture, notes={"a": 1})
    assert source.rows[["picture", "caption"]].to_numpy().tolist() == [[0, "a bird"], [1, ""], [2, "a jay"]]
    assert source.rows["prompt_id"].tolist() == [0, 3, 5]
    assert source.notes == {"a": 1, BLANK: 3}


def test_sizes_that_are_not_said_are_measured_as_the_picture_is_looked_at():
    upright, lying = io.BytesIO(), Image.Exif()
    lying[0x0112] = 6  # a quarter turn
    Image.new("RGB", (40, 30)).save(upright, "JPEG", exif=lying)
    files = [picture(0), upright.getvalue(), b"no picture", picture(0)]
    rows = [row(0), row(1), row(2), row(3, width=7, height=8)]
    found = measured(make_source("birds", rows, files.__getitem__), workers=2).rows
    assert found[["width", "height"]].to_numpy().tolist() == [[40, 30], [30, 40], [0, 0], [7, 8]]


@pytest.fixture
def folder(tmp_path):
    """imagefolder: three training pictures, one with two captions, and one for validation."""
    for split, lines in {"train": "abcb", "validation": "d"}.items():
        for name in lines:
            (tmp_path / split / "sub").mkdir(parents=True, exist_ok=True)
            (tmp_path / split / "sub" / f"{name}.png").write_bytes(picture(ord(name)))
        described = [f"sub/{name}.png,picture {name} {number},k{name}" for number, name in enumerate(lines)]
        (tmp_path / split / "metadata.csv").write_text("\n".join(["file_name,caption,kind", *described, ""]))
    return tmp_path


def test_an_imagefolder_is_read_with_its_splits_and_several_captions_a_file(folder):
    source = read_imagefolder(folder, Columns(category="kind"))
    assert source.rows["caption"].tolist() == [f"picture {name}" for name in ("a 0", "b 1", "c 2", "b 3", "d 0")]
    assert source.rows["split"].tolist() == ["train"] * 4 + ["validation"]
    assert source.pictures["image_id"].tolist() == [f"train/sub/{name}.png" for name in "abc"] + [
        "validation/sub/d.png"
    ]
    assert source.pictures["category"].tolist() == ["ka", "kb", "kc", "kd"]
    assert [source.read(each) for each in source.pictures["picture"]] == [picture(ord(name)) for name in "abcd"]


def test_an_imagefolder_that_datasets_would_read_in_silence_is_refused(folder):
    (folder / "train" / "sub" / "a.png").rename(folder / "train" / "sub" / "new.png")
    with pytest.raises(ValueError, match=r"missing pictures: 1 \(train/sub/a.png\); .*: 1 \(train/sub/new.png\)"):
        read_imagefolder(folder, COLUMNS)


NAMES = ["b_test_1.png", "dev-log.png", "eval/a.png", "my val.png", "plain.png", "train_7.png", ".hidden.png"]


def test_words_in_names_are_no_splits(tmp_path):
    """For datasets each of them but plain.png is one, and plain.png is in none."""
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(number))
    lines = [f"{name},{caption}" for name, caption in zip(NAMES, ["NA", "null", "1", *"abcd"], strict=True)]
    (tmp_path / "metadata.csv").write_text("\n".join(["\ufefffile_name,caption", *lines]), encoding="utf-8")
    source = read_imagefolder(tmp_path, COLUMNS)
    assert set(source.rows["split"]) == {"train"}
    assert source.rows["file"].tolist() == NAMES
    assert source.rows["caption"].tolist() == ["NA", "null", "1", *"abcd"]
    assert [source.read(each) for each in source.rows["picture"]] == [picture(number) for number in range(7)]


def test_metadata_may_lie_above_the_splits_and_no_picture_beside_them(folder):
    lines = []
    for split in ("train", "validation"):
        lines += [f"{split}/{line}" for line in (folder / split / "metadata.csv").read_text().splitlines()[1:]]
        (folder / split / "metadata.csv").unlink()
    (folder / "validation").rename(folder / "val")
    text = "\n".join(["file_name,caption,kind", *lines]).replace("validation/", "val/")
    (folder / "metadata.csv").write_text(text)
    assert read_imagefolder(folder, COLUMNS).rows["split"].tolist() == ["train"] * 4 + ["val"]
    (folder / "e.png").write_bytes(picture(5))
    (folder / "metadata.csv").write_text(f"{text}\ne.png,an e,k")
    with pytest.raises(ValueError, match=r"in none of the splits train/, val/, validation/, test/: 1 \(e\.png\)"):
        read_imagefolder(folder, COLUMNS)


def test_files_that_are_no_pictures_are_counted_and_foreign_pictures_refused(folder, caplog):
    (folder / "licence.txt").write_text("free")
    (folder / "train" / "captions.csv").write_text("a,b")
    assert read_imagefolder(folder, COLUMNS).notes == {OTHERS: 2, BLANK: 0}
    assert "left alone: 2 (licence.txt, train/captions.csv)" in caplog.text
    for name in ("old.bmp", "train/moving.GIF"):
        (folder / name).write_bytes(picture(1))
    said = r"format that is not read: 2 \(old\.bmp, train/moving\.GIF\); allowed are \.png, \.jpg, \.jpeg, \.webp"
    with pytest.raises(ValueError, match=said):
        read_imagefolder(folder, COLUMNS)


def test_ids_of_an_imagefolder_are_of_one_file_each(folder):
    rows = read_imagefolder(folder / "train", Columns(image_id="kind")).rows
    assert rows["image_id"].tolist() == ["ka", "kb", "kc", "kb"]
    path = folder / "train" / "metadata.csv"
    path.write_text(path.read_text().replace("kc", "ka"))
    with pytest.raises(ValueError, match=r"train, column kind: ids of several files: 1 \(ka\)"):
        read_imagefolder(folder / "train", Columns(image_id="kind"))


def test_an_imagefolder_needs_its_metadata_and_its_columns(folder):
    said = r"metadata\.csv: its columns are \['file_name', 'caption', 'kind'\]; needed are file_name, words"
    with pytest.raises(ValueError, match=said):
        read_imagefolder(folder, Columns(caption="words"))
    (folder / "train" / "metadata.csv").write_text("file_name,caption\nsub/a.png,a, b\n")
    with pytest.raises(ValueError, match=r"metadata\.csv: it cannot be read as CSV in UTF-8 \(line 2 has not as many"):
        read_imagefolder(folder, COLUMNS)
    for split in ("train", "validation"):
        (folder / split / "metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"there is no metadata\.csv in it, which says of each file_name its caption"):
        read_imagefolder(folder, COLUMNS)
    with pytest.raises(ValueError, match="there is no such folder"):
        read_imagefolder(folder / "none", COLUMNS)


def write_parquet(path, captions, **more):
    from datasets import Dataset, Features, List, Value
    from datasets import Image as Pictures

    num = len(captions)
    cells = [{"bytes": picture(number), "path": None} for number in range(num)]
    kind = List(Value("string")) if isinstance(captions[0], list) else Value("string")
    features = {"image": Pictures(), "caption": kind} | {name: Value("int64") for name in more}
    columns = {"image": cells, "caption": captions, **more}
    Dataset.from_dict(columns, features=Features(features)).to_parquet(path)
    return path


def test_parquet_has_a_caption_a_row(tmp_path):
    paths = [write_parquet(tmp_path / f"{name}.parquet", [f"{name} 0", f"{name} 1"]) for name in "abc"]
    source = read_parquet({"train": paths[:2], "val": paths[2:]}, COLUMNS)
    assert source.rows["caption"].tolist() == ["a 0", "a 1", "b 0", "b 1", "c 0", "c 1"]
    assert source.rows["split"].tolist() == ["train"] * 4 + ["val"] * 2
    assert [source.read(each) for each in source.pictures["picture"]] == [picture(n) for n in (0, 1, 0, 1, 0, 1)]


def test_parquet_may_have_a_list_of_captions_a_row(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [["three", "four"], [], ["five"]])
    source = read_parquet({"train": [path]}, COLUMNS)
    assert source.rows["caption"].tolist() == ["three", "four", "", "five"]
    assert source.rows["picture"].tolist() == [0, 0, 1, 2]


def test_rows_with_one_id_are_one_picture(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", ["one", "two", "three"], number=[5, 6, 5])
    source = read_parquet({"train": [path]}, Columns(image_id="number"))
    assert source.rows["image_id"].tolist() == ["5", "6", "5"]
    assert source.rows["picture"].tolist() == [0, 1, 0]


def test_classes_have_their_names_and_no_class_is_nobodys(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as Pictures

    cells = [{"bytes": picture(number), "path": None} for number in range(4)]
    columns = {"image": cells, "caption": [*"abcd"], "bird": [1, 0, -1, None]}
    features = {"image": Pictures(), "caption": Value("string"), "bird": ClassLabel(names=["jay", "tit"])}
    Dataset.from_dict(columns, features=Features(features)).to_parquet(tmp_path / "a.parquet")
    source = read_parquet({"train": [tmp_path / "a.parquet"]}, Columns(category="bird"))
    assert source.rows["category"].tolist() == ["tit", "jay", "", ""]


def test_the_copy_of_parquet_files_goes_with_the_source(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "copies"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "copies").mkdir()
    source = read_parquet({"train": [write_parquet(tmp_path / "a.parquet", ["one"])]}, COLUMNS)
    assert source.read(0) == picture(0)
    assert list((tmp_path / "copies").iterdir())
    del source
    assert not list((tmp_path / "copies").iterdir())


def test_what_is_no_parquet_or_holds_no_pictures_is_refused(tmp_path):
    import pandas as pd

    with pytest.raises(ValueError, match=r"missing files: 1 \(.*none.parquet\)"):
        read_parquet({"train": [tmp_path / "none.parquet"]}, COLUMNS)
    (tmp_path / "b.parquet").write_bytes(b"PAR")
    with pytest.raises(ValueError, match=r"it cannot be loaded \(Parquet file size is 3 bytes"):
        read_parquet({"train": [tmp_path / "b.parquet"]}, COLUMNS)
    pd.DataFrame({"caption": ["a"]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="exactly one is to hold pictures"):
        read_parquet({"train": [tmp_path / "c.parquet"]}, COLUMNS)


def test_a_data_set_of_the_hub_is_read_by_its_name(folder):
    """A local folder stands for a name: both go through load_dataset."""
    source = read_hub(str(folder), "main", COLUMNS)
    assert source.rows["caption"].tolist()[:2] == ["picture a 0", "picture b 1"]
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: it cannot be loaded"):
        read_hub(str(folder / "empty"), "main", COLUMNS)


def write_shard(path, **files):
    with tarfile.open(path, "w") as shard:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    return path


def test_shards_are_read_from_their_places(tmp_path):
    said = json.dumps({"caption": ["x", "y"], "kind": "jay"}).encode()
    paths = [
        write_shard(tmp_path / "0.tar", a__png=picture(1), a__json=said, b__png=picture(2), b__json=said),
        write_shard(tmp_path / "1.tar", c__json=said, c__PNG=picture(3)),
    ]
    source = read_shards({"train": paths[:1], "val": paths[1:]}, Columns(category="kind"))
    assert source.rows["caption"].tolist() == ["x", "y"] * 3
    assert source.rows["prompt_id"].tolist() == list(range(6))
    assert source.pictures["image_id"].tolist() == ["a", "b", "c"]
    assert set(source.rows["category"]) == {"jay"}
    assert [source.read(each) for each in source.pictures["picture"]] == [picture(1), picture(2), picture(3)]


def test_half_shards_are_refused(tmp_path):
    path = write_shard(tmp_path / "0.tar", a__png=picture(1), b__txt=b"a caption")
    with pytest.raises(ValueError, match=r"samples without a picture: 1 \(b\); samples without a caption: 1 \(a\)"):
        read_shards({"train": [path]}, COLUMNS)
    (tmp_path / "1.tar").write_bytes(b"no tar")
    with pytest.raises(ValueError, match="it is no plain, uncompressed tar file"):
        read_shards({"train": [tmp_path / "1.tar"]}, COLUMNS)
    with pytest.raises(ValueError, match="missing shards: 1"):
        read_shards({"train": [tmp_path / "2.tar"]}, COLUMNS)


def test_shards_that_count_anew_are_not_taken_for_one(tmp_path):
    """Samples of the same name in two shards would be one picture with two captions, and the other would be lost."""
    number = b'{"number": 7}'
    paths = [write_shard(tmp_path / f"{n}.tar", a__png=picture(n), a__txt=b"one", a__json=number) for n in range(2)]
    with pytest.raises(ValueError, match=r"names of samples there twice \(columns\.image_id .*\): 1 \(1\.tar: a\)"):
        read_shards({"train": paths}, COLUMNS)
    assert read_shards({"train": paths}, Columns(image_id="number")).rows["picture"].tolist() == [0, 0]
    both = write_shard(tmp_path / "2.tar", a__png=picture(1), a__jpg=picture(2), a__txt=b"one")
    with pytest.raises(ValueError, match=r"2\.tar: files there twice, or samples of several pictures: 1 \(a\)"):
        read_shards({"train": [both]}, COLUMNS)


def test_of_a_stream_small_pictures_are_kept(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    shard = write_shard(
        tmp_path / "0.tar",
        a__png=picture(1), a__txt=b"one", b__png=b"nothing", b__txt=b"two", c__png=picture(3, (9, 8)), c__txt=b"three",
    )  # fmt: skip
    out = Path(tmp_path, "kept.parquet")
    counts = keep_of_stream("webdataset", out, side=12, split="train", data_files={"train": str(shard)})
    assert counts == {"kept": 2, LEFT_OUT: 1}
    source = read_parquet({"train": [out]}, Columns(caption="txt"))
    assert source.rows["caption"].tolist() == ["one", "three"]
    pixels = [decode_picture(source.read(number), "")[0] for number in (0, 1)]
    assert [each.shape for each in pixels] == [(12, 16, 3), (8, 9, 3)]  # made smaller, never larger
    assert (pixels[0] == np.array([1, 2, 254])).all()
    counts = keep_of_stream("webdataset", out, side=12, num=1, split="train", data_files={"train": str(shard)})
    assert counts["kept"] == 1


def test_keep_streams_a_folder_of_parquet_files(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    write_parquet(tmp_path / "set" / "train.parquet", ["one", "two", "three"], number=[5, 6, 7])
    out = tmp_path / "kept.parquet"
    assert main(["keep", str(tmp_path / "set"), str(out), "--side", "12"]) == 0
    assert capsys.readouterr().out == f"3 kept, 0 {LEFT_OUT}: {out}\n"
    source = read_parquet({"train": [out]}, Columns(image_id="number"))
    assert source.rows[["caption", "image_id"]].to_numpy().tolist() == [["one", "5"], ["two", "6"], ["three", "7"]]
    assert decode_picture(source.read(0), "")[0].shape == (12, 16, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--side", "0"], "--side 0: allowed are 1 and more"),
        (["--side", "8", "--pictures", "0"], "--pictures 0: allowed are 1 and more"),
        (["--side", "8"], "it cannot be loaded"),
    ],
)
def test_what_keep_cannot_do_is_one_line(tmp_path, capsys, options, says):
    assert main(["keep", str(tmp_path / "none"), str(tmp_path / "kept.parquet"), *options]) == 1
    assert re.fullmatch(f"Error: .*{says}.*\n", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_set_that_is_not_there_is_said_to_be_missing_and_what_belongs_there():
    with pytest.raises(
        ValueError, match=r"data\.folder: nowhere is not there; needed is a folder with images\.txt.*Reed"
    ):
        open_source(Cub(folder="nowhere"))

"""CUB's own layout: the real numbers, the captions' lost spaces, and what a half set says."""

import pickle
from pathlib import Path

import pandas as pd
import pytest

from dalle.data.sources.cub import REPAIRED, SPARE, read_cub
from dalle.data.sources.table import BLANK
from dalle.listing import OTHERS
from dalle.provenance import ROOT

CUB = ROOT.parent / "shared" / "data" / "cub"
LIST = "zeroshot_test_filenames.txt"
BIRDS = {1: "001.Auk/Auk_1.jpg", 2: "001.Auk/Auk_2.jpg", 3: "002.Jay/Jay_3.jpg", 4: "003.Tit/Tit_4.jpg"}


@pytest.fixture(scope="module")
def cub():
    if not CUB.exists():
        pytest.skip("the small CUB is not here")
    return read_cub(CUB, "captions.csv", "classes", LIST)


@pytest.fixture
def small(tmp_path):
    """Four birds of three classes, of which the third has no captions and the second is tested."""
    for number, name in BIRDS.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"%d" % number)
        if number < 4:
            write(tmp_path / "text" / name.replace("jpg", "txt"), [f"bird {number} line {k}" for k in range(10)])
    write(tmp_path / "images.txt", [f"{number} {name}" for number, name in BIRDS.items()])
    write(tmp_path / "classes.txt", ["1 001.Auk", "2 002.Jay", "3 003.Tit"])
    write(tmp_path / "train_test_split.txt", ["1 1", "2 0", "3 1", "4 0", "5 1"])
    write(tmp_path / "bounding_boxes.txt", [f"{number} 1.0 2.0 30.0 40.0" for number in BIRDS])
    write(tmp_path / "test.txt", ["002.Jay/Jay_3", "009.Emu/Emu_9"])
    return tmp_path


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def read(folder, captions="text", split="classes", names="test.txt"):
    return read_cub(folder, captions, split, names)


def test_the_small_cub_has_the_numbers_of_its_sources(cub):
    described = cub.rows[cub.rows["caption"] != ""]
    assert (len(cub.pictures), described["picture"].nunique(), len(described)) == (2889, 543, 5430)
    split = described.groupby("split").agg(captions=("prompt_id", "size"), pictures=("picture", "nunique"))
    assert split.loc["train"].tolist() == [2750, 275]
    assert split.loc["test"].tolist() == [2680, 268]
    assert set(described[described["split"] == "test"]["category"]) == {
        *("Black_footed_Albatross", "Groove_billed_Ani", "Least_Auklet", "Rhinoceros_Auklet", "Brewer_Blackbird")
    }
    absent = f"names in {LIST} of classes that are not here"
    assert cub.notes == {absent: 1950, REPAIRED: 5, SPARE: 0, OTHERS: 0, BLANK: 0}


def test_lost_spaces_are_spaces_again(cub):
    assert not cub.rows["caption"].str.contains("\ufffd").any()
    repaired = cub.rows[cub.rows["caption"].str.startswith("this bird has a dark grey belly, darker grey wings")]
    assert repaired["caption"].item().endswith("a dark brownish-grey head a squared off bill.")


def test_both_splits_are_those_of_the_table_beside_the_pictures(cub):
    table = pd.read_csv(CUB / "images.csv")
    assert cub.pictures["split"].tolist() == table["zeroshot_split"].tolist()
    assert read_cub(CUB, "captions.csv", "pictures", "").pictures["split"].tolist() == table["cub_split"].tolist()


def test_text_files_say_the_same_as_the_table(cub, tmp_path):
    for name in ("images", "images.txt", "classes.txt", LIST):
        (tmp_path / name).symlink_to(CUB / name)
    described = cub.rows[cub.rows["caption"] != ""]
    for file, captions in described.groupby("file")["caption"]:
        write(tmp_path / "text" / file.removeprefix("images/").replace(".jpg", ".txt"), captions.tolist())
    again = read_cub(tmp_path, "text", "classes", LIST)
    assert again.rows.equals(cub.rows)


def test_prompts_are_numbered_by_picture_and_line(small):
    source = read(small)
    assert source.rows["prompt_id"].tolist() == [*range(10, 40), 40]
    assert source.rows["caption"].tolist()[11] == "bird 2 line 1"
    assert source.rows["caption"].tolist()[-1] == ""
    assert source.pictures["category"].tolist() == ["Auk", "Auk", "Jay", "Tit"]
    assert source.pictures["split"].tolist() == ["train", "train", "test", "train"]
    assert source.boxes[3] == (1, 2, 30, 40)
    assert [source.read(picture) for picture in range(4)] == [b"1", b"2", b"3", b"4"]
    assert source.notes["names in test.txt of classes that are not here"] == 1


def test_the_split_of_the_pictures_counts_lines_of_absent_ones(small):
    source = read(small, split="pictures")
    assert source.pictures["split"].tolist() == ["train", "test", "train", "test"]
    assert source.notes["lines of train_test_split.txt for pictures that are not here"] == 1


def test_attngans_pickle_is_read_and_one_that_runs_something_is_not(small):
    (small / "names.pickle").write_bytes(pickle.dumps(["002.Jay/Jay_3"], protocol=0))
    assert read(small, names="names.pickle").pictures["split"].tolist() == ["train", "train", "test", "train"]
    (small / "evil.pickle").write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(ValueError, match=r"evil.pickle: the list cannot be read \(it asks for pathlib"):
        read(small, names="evil.pickle")
    (small / "other.pickle").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="it is no list of names"):
        read(small, names="other.pickle")


def test_half_sets_say_what_is_missing(small):
    (small / "text" / "001.Auk" / "Auk_2.txt").unlink()
    with pytest.raises(ValueError, match=r"without captions, of classes that have some: 1 \(001.Auk/Auk_2.jpg\)"):
        read(small)
    write(small / "text" / "001.Auk" / "Auk_2.txt", ["one", "", "two"])
    with pytest.raises(ValueError, match=r"fewer captions than 10: 1 \(001.Auk/Auk_2.jpg: 2\)"):
        read(small)
    write(small / "text" / "001.Auk" / "Auk_2.txt", [f"line {k}" for k in range(12)])
    assert read(small).rows["caption"].tolist()[10:20] == [f"line {k}" for k in range(10)]
    assert read(small).notes[SPARE] == 2
    (small / "images" / BIRDS[1]).unlink()
    with pytest.raises(ValueError, match=r"missing pictures: 1 \(001.Auk/Auk_1.jpg\)"):
        read(small)


@pytest.mark.parametrize(
    ("file", "lines", "complaint"),
    [
        ("test.txt", ["001.Auk/Auk_1"], r"classes that are in both splits: 1 \(001.Auk: 1 of 2\)"),
        ("test.txt", ["002.Jay/Jay_3", "002.Jay/Jay_8"], r"missing pictures: 1 \(002.Jay/Jay_8.jpg\)"),
        ("classes.txt", ["1 001.Auk", "2 002.Jay"], r"classes that are not in classes.txt: 1 \(003.Tit\)"),
        ("images.txt", ["1 001.Auk/Auk_1.jpg", "Auk"], r"not a number and what it stands for: 1 \(Auk\)"),
        ("images.txt", [f"1 {BIRDS[1]}", f"1 {BIRDS[2]}"], r"images.txt: numbers more than once: 1 \(1\)"),
        ("bounding_boxes.txt", ["1 1 2 3 4", "2 a 2 3 4"], r"without a box of four numbers: 3 \(001.Auk/Auk_2.jpg, "),
        ("bounding_boxes.txt", ["1 1 2 3 4", "2 1 2 3"], r"without a box of four numbers: 3 \(001.Auk/Auk_2.jpg, "),
    ],
)
def test_wrong_files_are_named(small, file, lines, complaint):
    write(small / file, lines)
    with pytest.raises(ValueError, match=complaint):
        read(small)


def test_a_table_needs_its_columns(small):
    write(small / "captions.csv", ["file,caption", "a,b"])
    with pytest.raises(ValueError, match=r"its columns are \['file', 'caption'\]; needed are image, caption"):
        read(small, captions="captions.csv")


def test_other_files_are_counted_and_foreign_pictures_refused(small):
    for name in ("images/.DS_Store", "images/001.Auk/readme", "text/char-CNN.t7"):
        (small / name).write_bytes(b"")
    assert read(small).notes[OTHERS] == 3
    (small / "images" / "001.Auk" / "Auk_9.bmp").write_bytes(b"")
    with pytest.raises(ValueError, match=r"format that is not read: 1 \(001.Auk/Auk_9.bmp\)"):
        read(small)


def test_pictures_of_another_kind_than_the_list_has_are_no_strangers_either(small):
    (small / "images" / "001.Auk" / "Auk_1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pictures that are not in images.txt: 1 \(001.Auk/Auk_1.png\)"):
        read(small)

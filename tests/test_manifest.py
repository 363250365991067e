"""Strangers' pictures: from every source the same, and what is missing, twice or left over said in one line."""

import gc
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dalle.images import write_archive
from dalle.manifest import match, open_pictures, prompts_of, read_folder, read_hub, read_manifest, read_parquet

PROMPTS = pd.DataFrame({"prompt_id": [7, 3, 5], "caption": ["a red ring", "two dogs, “old”", "a cat"]})


def picture(number: int) -> np.ndarray:
    """Of its own colour and, in width, of its own size."""
    return np.full((4, 5 + number, 3), 10 * number, np.uint8)


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number)).save(path, **({"lossless": True} if path.suffix.lower() == ".webp" else {}))


def write_manifest(path: Path, **columns: object) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def png(number: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture(number)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0, 1, 2 as files of three kinds, one in a subfolder, and a text that is no picture."""
    for number, name in enumerate(("b.png", "sub/a.WEBP", "c d.Png")):
        save(tmp_path / "pictures" / name, number)
    (tmp_path / "pictures/licence.txt").write_text("free")
    return tmp_path / "pictures"


FILES = ["b.png", "sub/a.WEBP", "c d.Png"]


def manifest(folder: Path, **columns: object) -> Path:
    """Beside the folder: files answer the prompts in order, unless ``columns`` say otherwise."""
    return write_manifest(folder.parent / "manifest.csv", **({"file": FILES, "prompt_id": [7, 3, 5]} | columns))


def numbers(pictures: object) -> list[int]:
    """Which pictures these are, each compared pixel by pixel."""
    found = []
    for position in range(len(pictures)):
        pixels, lossy = pictures.load(position)
        assert not lossy
        found.append(pixels.shape[1] - 5)
        assert np.array_equal(pixels, picture(found[-1]))
    return found


def test_a_folder_is_what_its_manifest_says(folder):
    pictures = open_pictures(folder, manifest(folder, prompt_id=[3, 5, 7]))
    assert numbers(pictures) == [0, 1, 2]
    answers = pictures.answering(PROMPTS)
    assert numbers(answers) == [2, 0, 1]
    assert answers.rows["file"].tolist() == ["c d.Png", "b.png", "sub/a.WEBP"]
    assert answers.rows["prompt_id"].tolist() == [7, 3, 5]
    assert answers.rows["caption"].tolist() == PROMPTS["caption"].tolist()
    assert answers.rows["candidate"].tolist() == [0, 0, 0]


def test_captions_do_as_well_as_ids(folder):
    rows = {"file": FILES, "caption": [" a cat", "a red ring\t", "two dogs, “old”"]}
    pictures = read_folder(folder, write_manifest(folder.parent / "manifest.csv", **rows)).answering(PROMPTS)
    assert numbers(pictures) == [1, 2, 0]
    assert pictures.rows["caption"].tolist() == PROMPTS["caption"].tolist()


def test_a_folder_without_manifest_is_counted_in_the_order_of_its_names(folder):
    pictures = open_pictures(folder)
    assert pictures.rows["file"].tolist() == ["b.png", "c d.Png", "sub/a.WEBP"]
    assert pictures.rows["prompt_id"].tolist() == [0, 1, 2]
    assert numbers(pictures) == [0, 2, 1]


def test_candidates_and_scores_come_with_their_prompt(folder):
    save(folder / "d.jpeg", 0)
    rows = {
        "file": [*FILES, "d.jpeg"],
        "prompt_id": [5, 7, 7, 5],
        "candidate": [1, 1, 0, 0],
        "score": ["1e1", -2, 0.5, 3],
    }
    pictures = read_folder(folder, write_manifest(folder.parent / "manifest.csv", **rows)).answering(
        PROMPTS.iloc[[0, 2]]
    )
    assert pictures.rows["file"].tolist() == ["c d.Png", "sub/a.WEBP", "d.jpeg", "b.png"]
    assert pictures.rows["candidate"].tolist() == [0, 1, 0, 1]
    assert pictures.rows["score"].tolist() == [0.5, -2, 3, 10]
    assert pictures.load(2)[1]  # the JPEG
    assert not pictures.load(3)[1]


def test_spreadsheets_marks_and_other_columns_do_no_harm(folder):
    path = folder.parent / "manifest.csv"
    text = "file,width,prompt_id\r\nb.png,9,0007\r\n./sub/a.WEBP,9,3\r\n\r\nc d.Png,9,5\r\n"
    path.write_bytes(text.encode("utf-8-sig"))
    assert numbers(read_folder(folder, path).answering(PROMPTS)) == [0, 1, 2]


SOURCES = ["image", "bytes", "large_bytes", "struct", "archive"]


def write_parquet(path: Path, source: str) -> Path:
    """Pictures 2, 0, 1 answer prompts 5, 7, 3."""
    order, ids = [2, 0, 1], {"prompt_id": [5, 7, 3], "other": list("abc")}
    data = [png(number) for number in order]
    structs = [{"bytes": content, "path": None} for content in data]
    if source == "image":
        from datasets import Dataset, Features, Image, Value

        kinds = Features({"picture": Image(), "prompt_id": Value("int64"), "other": Value("string")})
        Dataset.from_dict({"picture": structs, **ids}, features=kinds).to_parquet(path)
    elif source == "archive":
        rows = pd.DataFrame(ids).assign(candidate=0, caption=PROMPTS["caption"].iloc[[2, 0, 1]].tolist(), scene="")
        write_archive(path, rows, [picture(number) for number in order])
    else:
        kind = {"bytes": pa.binary(), "large_bytes": pa.large_binary()}.get(source)
        pq.write_table(pa.table({"image": pa.array(structs if kind is None else data, kind), **ids}), path)
    return path


@pytest.mark.parametrize("source", SOURCES)
def test_a_parquet_file_is_its_own_manifest(tmp_path, source):
    pictures = open_pictures(write_parquet(tmp_path / "a.parquet", source))
    assert numbers(pictures) == [2, 0, 1]
    assert numbers(pictures.answering(PROMPTS)) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"a\.parquet: a parquet file says itself .*m\.csv"):
        open_pictures(tmp_path / "a.parquet", "m.csv")


def test_the_copy_of_a_parquet_file_goes_with_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    pictures = read_parquet(write_parquet(tmp_path / "a.parquet", "bytes")).answering(PROMPTS)
    gc.collect()
    assert list((tmp_path / "copies").iterdir()) != []
    assert numbers(pictures) == [0, 1, 2]
    del pictures
    gc.collect()
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_data_set_is_read_like_a_parquet_file(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    write_parquet(tmp_path / "set/test.parquet", "image")
    assert numbers(read_hub(str(tmp_path / "set"), "test").answering(PROMPTS)) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"data set .*set, split dev: it cannot be loaded \(.*dev.*\)$"):
        read_hub(str(tmp_path / "set"), "dev")


def test_a_data_set_of_files_is_read_too(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write_manifest(folder / "metadata.csv", file_name=FILES, prompt_id=[7, 3, 5])
    pictures = read_hub(str(folder), "train")
    assert numbers(pictures.answering(PROMPTS)) == [0, 1, 2]


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^data set .*nowhere, split test: it cannot be loaded \(.+\)$"):
        read_hub(str(tmp_path / "nowhere"), "test")


def test_pictures_and_manifest_name_the_same_files(folder):
    for number in range(6):
        save(folder / f"left{number}.JPG", number)
    path = manifest(folder, file=["b.png", "gone.png", "licence.txt"])
    says = (
        "pictures: missing pictures: 2 (gone.png, licence.txt); pictures that are not in "
        f"{path}: 8 (c d.Png, left0.JPG, left1.JPG, left2.JPG, left3.JPG, …)"
    )
    with pytest.raises(ValueError, match=f"{re.escape(says)}$"):
        read_folder(folder, path)


def test_files_that_are_no_pictures_are_named_in_the_log_and_foreign_pictures_refused(folder, caplog):
    path = manifest(folder).rename(folder / "manifest.csv")
    assert numbers(read_folder(folder, path)) == [0, 1, 2]
    assert "pictures: files that are no pictures, left alone: 1 (licence.txt)" in caplog.text
    for name in ("c.bmp", "sub/d.Gif"):
        (folder / name).write_bytes(png(3))
    said = r"pictures: pictures in a format that is not read: 2 \(c\.bmp, sub/d\.Gif\); allowed are \.png, \.jpg"
    with pytest.raises(ValueError, match=said):
        read_folder(folder, path)


def test_linked_folders_count_too(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    save(tmp_path / "elsewhere" / "e.png", 3)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere")
    assert numbers(read_folder(tmp_path / "linked")) == [0, 2, 3, 1]


@pytest.mark.parametrize("name", ["../pictures/b.png", "sub/../../x.png", "/etc/b.png"])
def test_files_outside_the_folder_are_refused(folder, name):
    path = manifest(folder, file=[name, *FILES[1:]])
    with pytest.raises(ValueError, match=rf"manifest\.csv: '{name}' leaves the folder"):
        read_folder(folder, path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"its columns are \[\]; needed are file, and none there twice"),
        ("path,prompt_id\na,1\n", r"its columns are \['path', 'prompt_id'\]; needed are file"),
        ("file,file,prompt_id\na,a,1\n", "none there twice"),
        ("file,prompt\na,1\n", r"its columns are \['file', 'prompt'\]; needed is prompt_id or caption"),
        ("file,caption\n", "it names no picture"),
        ("file,caption\na.png,two dogs, old\n", "line 2 has not as many fields as the heading; .* quotes"),
        ("file,caption\nb.png,x\na.png\n", "line 3 has not as many fields as the heading"),
        ("file,caption\na.png,\n", "caption '' is no text"),
        ("file,prompt_id\na.png,x3\n", "prompt_id 'x3' is no whole number ≥ 0"),
        ("file,prompt_id\na.png,1.0\n", "prompt_id '1.0' is no whole number ≥ 0"),
        ("file,prompt_id\na.png,-1\n", "prompt_id '-1' is no whole number ≥ 0"),
        ("file,prompt_id,candidate\na.png,1,\n", "candidate '' is no whole number ≥ 0"),
        ("file,prompt_id,score\na.png,1,nan\n", "score 'nan' is no finite number"),
        ("file,prompt_id,score\na.png,1,1e999\n", "score '1e999' is no finite number"),
        ('file,caption\na.png,"open\n', "it cannot be read as CSV in UTF-8"),
        (b"file,caption\na.png,caf\xe9\n", "it cannot be read as CSV in UTF-8"),
    ],
)
def test_a_manifest_that_says_nothing_clear_is_refused(tmp_path, text, says):
    (tmp_path / "m.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"m\.csv: .*{says}") as raised:
        read_manifest(tmp_path / "m.csv")
    assert "\n" not in str(raised.value)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        open_pictures(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"there is no picture in it; pictures end in \.png, \.jpg, \.jpeg, \.webp"):
        open_pictures(tmp_path)
    save(tmp_path / "a.png", 1)
    with pytest.raises(ValueError, match=r"m\.csv: it cannot be read .*No such file"):
        open_pictures(tmp_path, tmp_path / "m.csv")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read as parquet \(.*No such file"):
        open_pictures(tmp_path / "b.parquet")


@pytest.mark.parametrize("content", [b"", b"a text", png(1)[:-60]], ids=["empty", "text", "truncated"])
def test_a_file_that_is_no_picture_is_named_when_it_is_loaded(folder, content):
    (folder / "sub/a.WEBP").write_bytes(content)
    pictures = read_folder(folder, manifest(folder)).answering(PROMPTS)
    assert pictures.load(2)[0].shape == (4, 7, 3)
    with pytest.raises(ValueError, match=r"pictures: sub/a\.WEBP: the picture cannot be read \("):
        pictures.load(1)


def test_a_file_that_has_gone_meanwhile_is_named(folder):
    pictures = read_folder(folder)
    (folder / "b.png").unlink()
    with pytest.raises(ValueError, match=r"pictures: b\.png: the file cannot be read .*No such file"):
        pictures.load(0)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"prompt_id": [1, 2]}, r"its columns are \['prompt_id'\]; exactly one is to hold pictures"),
        ({"image": [png(1)] * 2}, "needed is prompt_id or caption"),
        ({"image": ["a.png", "b.png"], "prompt_id": [1, 2]}, "exactly one is to hold pictures"),
        ({"image": [png(1)] * 2, "prompt_id": [1, None]}, "prompt_id None is no whole number"),
        ({"image": [png(1)] * 2, "caption": ["a", None]}, "caption None is no text"),
        ({"image": pa.array([], pa.binary()), "prompt_id": pa.array([], pa.int64())}, "it names no picture"),
    ],
    ids=["no pictures", "no ids", "paths", "no id", "no caption", "no rows"],
)
def test_a_parquet_file_of_other_columns_is_refused(tmp_path, columns, says):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"a\.parquet: .*{says}"):
        read_parquet(tmp_path / "a.parquet")


def test_a_file_that_is_no_parquet_and_a_row_without_picture_are_named(tmp_path):
    (tmp_path / "a.parquet").write_text("a text")
    with pytest.raises(ValueError, match=r"^.*a\.parquet cannot be read as parquet \(.*\)$"):
        read_parquet(tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": [png(1), None, b"x"], "prompt_id": [1, 2, 3]}), tmp_path / "b.parquet")
    pictures = read_parquet(tmp_path / "b.parquet")
    for number in (1, 2):
        with pytest.raises(ValueError, match=rf"b\.parquet: row {number}: the picture cannot be read \(it is no PNG"):
            pictures.load(number)


def answer(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"file": "x", "candidate": 0, **columns})


def refusal(rows: pd.DataFrame, prompts: pd.DataFrame = PROMPTS) -> str:
    with pytest.raises(ValueError) as raised:
        match(rows, prompts, "mine")
    return str(raised.value)


def test_everything_wrong_is_in_one_line():
    rows = answer(prompt_id=[7, 7, 5, 5, 99], candidate=[0, 0, 0, 2, 0])
    assert refusal(rows) == (
        "mine: missing: 6 (prompt_id 7 candidate 1, prompt_id 7 candidate 2, prompt_id 3 candidate 0, "
        "prompt_id 3 candidate 1, prompt_id 3 candidate 2, …); more than once: 1 (prompt_id 7 candidate 0); "
        "unknown prompt_id: 1 (99)"
    )


def test_what_is_known_by_caption_is_told_by_caption():
    rows = answer(caption=["a cat", "a cat", "a cow", "a red ring"])
    assert refusal(rows) == (
        "mine: missing: 1 (caption 'two dogs, “old”'); more than once: 1 (caption 'a cat'); "
        "unknown caption: 1 ('a cow')"
    )


def test_pictures_of_none_of_the_prompts_are_all_unknown_and_all_are_missing():
    assert refusal(answer(prompt_id=[1, 2])) == (
        "mine: missing: 3 (prompt_id 7, prompt_id 3, prompt_id 5); unknown prompt_id: 2 (1, 2)"
    )


def test_an_absurd_candidate_is_answered_at_once():
    said = refusal(answer(prompt_id=[7, 3, 5], candidate=[0, 0, 10**17]))
    assert said.startswith(f"mine: missing: {3 * (10**17 + 1) - 3} (prompt_id 7 candidate 1, ")


def test_both_ids_must_agree():
    rows = answer(prompt_id=[7, 3, 5], caption=["a red ring", "a cat", "two dogs, “old”"])
    assert refusal(rows) == "mine: caption is not that of prompt_id: 2 (3, 5)"


def test_a_caption_of_several_prompts_asks_for_the_id():
    prompts = PROMPTS.assign(caption=["a dog", "a cat", " a dog"])
    assert refusal(answer(caption=["a dog", "a cat", "a dog"]), prompts) == (
        "mine: 'a dog' is the caption of several prompts; a column prompt_id must say of which"
    )
    rows = match(answer(prompt_id=[5, 3, 7], caption=["a dog", "a cat", "a dog"]), prompts, "mine")
    assert rows["prompt_id"].tolist() == [7, 3, 5]


def test_the_order_of_rows_does_not_matter():
    rows = answer(prompt_id=[7, 3, 5] * 4, candidate=np.repeat(range(4), 3)).assign(
        file=[f"{n}.png" for n in range(12)]
    )
    expected = match(rows, PROMPTS, "mine")
    assert expected["candidate"].tolist() == [0, 1, 2, 3] * 3
    assert match(rows.sample(frac=1, random_state=0), PROMPTS, "mine").equals(expected)


def test_prompts_of_a_source_that_stands_alone():
    by_id = prompts_of(answer(prompt_id=[9, 2, 9], caption=["x", "y", "x"]))
    assert by_id.to_dict("list") == {"prompt_id": [2, 9], "caption": ["y", "x"]}
    nameless = prompts_of(answer(prompt_id=[9, 2, 9]))
    assert nameless.to_dict("list") == {"prompt_id": [2, 9], "caption": ["", ""]}
    for captions in (["y", "x", "y"], ["x", "y"]):
        by_caption = prompts_of(answer(caption=captions))
        assert by_caption[["prompt_id", "caption"]].to_dict("list") == {"prompt_id": [0, 1], "caption": ["x", "y"]}


def test_a_source_alone_is_held_to_its_own_prompts():
    rows = answer(caption=["x", "y", "x"])
    assert refusal(rows, prompts_of(rows)) == "mine: more than once: 1 (caption 'x')"
    rows = answer(prompt_id=[1, 1, 2], candidate=[0, 1, 0], caption=["x", "z", "y"])
    assert refusal(rows, prompts_of(rows)) == (
        "mine: missing: 1 (prompt_id 2 candidate 1); caption is not that of prompt_id: 1 (1)"
    )

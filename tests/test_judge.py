"""Judging a folder from the command line: the workflow's numbers, and one clear line for everything that is wrong."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval import __main__ as command
from eval.blur import blur
from eval.extractors import load_extractor
from eval.judge import SHOWN, Question, judge
from eval.metrics.frechet import frechet_distance
from eval.metrics.inception_score import inception_score
from eval.pixels import crop
from eval.protocols.protocol import load_protocol
from eval.sweep import Rules

FID, IS = "fid.imagenet-lite@1", "is.imagenet-lite@1"
NUM = 12


def paint(folder: Path, seed: int, sizes=((40, 40), (48, 32)), suffix="png") -> Path:
    """A folder of smooth pictures, of several sizes."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(NUM):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize(sizes[number % len(sizes)], Image.Resampling.BICUBIC).save(folder / f"{number:02}.{suffix}")
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("given") / "ours", seed=0)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("given") / "theirs", seed=1)


def write_manifest(path: Path, rows: list[tuple]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "prompt_id"), *rows])
    return path


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = command.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_the_table_says_what_the_functions_say_of_the_decoded_pictures(ours, theirs):
    rules = Rules((FID, IS), "blur.pil@1", replicates=50, seed=0)
    table = judge(Question(ours, theirs, None, rules))
    assert list(table.columns) == SHOWN
    extractor = load_extractor(load_protocol(FID))
    sides = [extractor([np.array(Image.open(file)) for file in sorted(side.iterdir())]) for side in (ours, theirs)]
    (features, logits), (reference, _) = sides
    value = table.set_index("metric")["value"]
    assert value["fid"] == pytest.approx(frechet_distance(features, reference), rel=1e-4)
    assert value["inception_score"] == pytest.approx(inception_score(logits, 10, 2020)[0], rel=1e-4)
    assert set(table["metric"]) == {*load_protocol(FID).metrics, "inception_score"}
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_both_sides_are_blurred(ours, theirs):
    blurred = judge(Question(ours, theirs, None, Rules((FID,), "blur.pil@1", 50, 0), radius=32)).set_index("metric")
    extractor, rule = load_extractor(load_protocol(FID)), load_protocol("blur.pil@1")
    sides = [
        extractor([blur(crop(np.array(Image.open(file)), "centre"), 32, rule) for file in sorted(side.iterdir())])[0]
        for side in (ours, theirs)
    ]
    assert set(blurred["blur"]) == {32} and set(blurred["blur_protocol"]) == {"blur.pil@1"}
    assert blurred["value"]["fid"] == pytest.approx(frechet_distance(*sides), rel=1e-4)


def test_an_inception_score_needs_no_reference(capsys, ours):
    status, out, err = run(capsys, "score", ours, "--protocol", IS)
    assert (status, err) == (0, "")
    assert "inception_score" in out and "Warning: 12 pictures, is.imagenet-lite@1 asks for 10000" in out


def test_a_manifest_orders_and_the_csv_holds_the_table(capsys, tmp_path, ours, theirs):
    manifest = write_manifest(tmp_path / "captions.csv", [(f"{n:02}.png", NUM - n) for n in range(NUM)])
    given = ("--captions", manifest, "--reference", theirs, "--csv", tmp_path / "out.csv")
    status, out, _ = run(capsys, "score", ours, *given)
    assert status == 0
    with open(tmp_path / "out.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows] == sorted(load_protocol(FID).metrics)
    assert all(row["metric"] in out for row in rows)


def test_a_store_is_kept_and_used(capsys, tmp_path, ours, theirs, monkeypatch):
    arguments = ("score", ours, "--reference", theirs, "--store", tmp_path / "store")
    first = run(capsys, *arguments)
    assert list((tmp_path / "store").rglob("*.safetensors"))
    monkeypatch.setattr("eval.extractors.Extractor.__call__", None)  # nothing is looked at again
    assert run(capsys, *arguments) == first


def test_lossy_files_are_warned_of(capsys, tmp_path, theirs):
    folder = paint(tmp_path / "jpeg", seed=2, suffix="jpg")
    _, out, _ = run(capsys, "score", folder, "--reference", theirs)
    assert f"{NUM} pictures from lossy files" in out


def missing_file(folder):
    return ["--captions", write_manifest(folder.parent / "m.csv", [*named(folder), ("gone.png", 99)])]


def two_for_one_prompt(folder):
    return ["--captions", write_manifest(folder.parent / "m.csv", [*named(folder)[:-1], (f"{NUM - 1:02}.png", 0)])]


def truncated_jpeg(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "t.jpg")
    data = (folder / "t.jpg").read_bytes()
    (folder / "t.jpg").write_bytes(data[: len(data) // 2])


def text_named_png(folder):
    (folder / "text.png").write_text("hello")


def empty(folder):
    for file in folder.iterdir():
        file.unlink()


def named(folder):
    return [(file.name, number) for number, file in enumerate(sorted(folder.iterdir()))]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing_file, r"ours: missing pictures: 1 \(gone\.png\)"),
        (two_for_one_prompt, r"ours: more than once: 1 \(prompt_id 0\)"),
        (truncated_jpeg, r"t\.jpg: the picture cannot be read \(image file is truncated"),
        (text_named_png, r"text\.png: the picture cannot be read \(it is no PNG, JPEG or WebP\)"),
        (empty, r"there is no picture in it; pictures end in \.png"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_spoilt_folder_is_one_line(capsys, tmp_path, theirs, spoil, says):
    folder = paint(tmp_path / "ours", seed=0)
    arguments = spoil(folder) or []
    status, out, err = run(capsys, "score", folder, "--reference", theirs, *arguments)
    assert status == 1 and out == ""
    assert len(err.splitlines()) == 1
    with pytest.raises(ValueError, match=says):
        raise ValueError(err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--protocol", FID], "compares with other pictures: --reference FOLDER is needed"),
        (["--protocol", "clip.openai-b32@1"], "compares with captions: --captions FILE is needed"),
        (["--protocol", "blur.pil@1"], "measures nothing by itself; allowed are fid.*, is.*, clip.*"),
        (["--protocol", "fid.clean@7"], "the version there is fid.clean@1"),
        (["--protocol", IS, "--weights", "efficientnet-lite0"], "allowed is NETWORK=PATH"),
        (["--protocol", IS, "--blur", "-1"], "blur radius -1"),
        (["--protocol", IS, "--replicates", "1"], "replicates"),
        (["--protocol", IS, "--blur-protocol", "fid.clean@1"], "is of another family; allowed here are blur."),
        (["--protocol", IS, "--weights", "nosuch=x"], "weights of nosuch: no protocol uses them"),
        (["--protocol", IS, "--csv", "/"], "Error: "),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_line(capsys, ours, arguments, says):
    status, _, err = run(capsys, "score", ours, *arguments)
    assert status == 1
    assert says in err and len(err.splitlines()) == 1


def test_weights_of_one_network_given_for_the_protocol_are_checked(capsys, tmp_path, ours, theirs):
    torch.save({}, tmp_path / "w.pth")
    given = ("--protocol", "fid.tf-compat@1", "--weights", f"inception-2015-12-05={tmp_path / 'w.pth'}")
    status, _, err = run(capsys, "score", ours, "--reference", theirs, *given)
    assert status == 1
    assert "6726825d" in err


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        command.main(["score", "--help"])
    assert command.EXAMPLES["score"].split()[3] in capsys.readouterr().out

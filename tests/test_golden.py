"""A spoilt fixture is found twice, by its bytes and by the check that uses it; all of them can be made anew."""

import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from eval import doctor
from eval.golden import fixtures, judges, make
from eval.pixels import KERNELS


@pytest.fixture
def golden(tmp_path, monkeypatch):
    """A copy of the fixtures, to be spoilt."""
    folder = shutil.copytree(fixtures.FOLDER, tmp_path / "golden", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(fixtures, "FOLDER", folder)
    return folder


def outcome(name):
    (found,) = [one for one in doctor.checks({}) if one.name == name]
    return found.outcome()


def test_what_failed_is_counted(golden, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(judges, "RESULTS", tmp_path)
    (golden / "odd.png").unlink()
    assert doctor.examine({}) == 1
    printed = capsys.readouterr().out
    failed = [line for line in printed.splitlines() if "✗" in line]
    assert [line.split("│")[1].strip() for line in failed] == [
        "fixtures",
        *(f"kernel: {k}" for k in KERNELS),
        "features",
    ]
    assert all("fixture odd.png is missing" in line for line in failed)
    assert re.search(r"^7 of \d+ checks failed$", printed, flags=re.MULTILINE)
    assert "all green" not in printed


NUMBERS = [
    ("kernels", "pil-bicubic 17", "kernel: pil-bicubic", r"pil-bicubic 17: up to 1 away from .*; allowed is 0\.001"),
    ("decoded", "grey16.png", "decoding", r"grey16\.png: up to 1 away .*; allowed is 0$"),
    ("features", "features", "features", r"features in units of the largest: up to .* allowed is 0\.001"),
    ("features", "logits", "features", r"logits in units of the largest: up to"),
    ("logits", "logits", "inception score", r"score of the sorted set: up to"),
    ("scores", "shuffled", "inception score", r"score of the shuffled set: up to 1 away"),
    ("resamples", "counts", "bootstrap", r"resamples of seed 2020: up to 1 away"),
]


@pytest.mark.parametrize(("name", "key", "checked", "reason"), NUMBERS, ids=lambda value: value.replace(" ", "_"))
def test_a_changed_number_is_found_by_its_bytes_and_by_its_check(golden, name, key, checked, reason):
    path = golden / f"{name}.safetensors"
    arrays = load_file(path)
    arrays[key].flat[3 % arrays[key].size] += 1
    save_file(arrays, path)
    assert outcome("fixtures") == (False, f"fixture {name}.safetensors was changed")
    is_right, found = outcome(checked)
    assert is_right is False
    assert re.search(reason, found)


def test_a_changed_number_of_one_kernel_is_no_fault_of_another(golden):
    arrays = load_file(golden / "kernels.safetensors")
    arrays["pil-bicubic 17"][0, 0, 0] += 1
    save_file(arrays, golden / "kernels.safetensors")
    assert outcome("kernel: pil-bilinear")[0]
    del arrays["pil-bilinear 41"]
    save_file(arrays, golden / "kernels.safetensors")
    assert outcome("kernel: pil-bilinear") == (False, "fixture kernels.safetensors lacks pil-bilinear 41")


USERS = {
    "odd.png": "kernel: tf1-bilinear",
    "flower.png": "features",
    **dict.fromkeys(fixtures.FILES, "decoding"),
    "kernels.safetensors": "kernel: tf1-bilinear",
    "decoded.safetensors": "decoding",
    "features.safetensors": "features",
    "logits.safetensors": "inception score",
    "scores.safetensors": "inception score",
    "resamples.safetensors": "bootstrap",
}


def test_every_fixture_is_listed_and_used():
    listed = [line.split()[1] for line in fixtures.fixture(fixtures.SUMS).decode().splitlines()]
    lying = [path.name for path in fixtures.FOLDER.iterdir() if path.suffix not in (".py", "") and path.is_file()]
    assert sorted(listed) == sorted(lying) == sorted(USERS)


@pytest.mark.parametrize("name", USERS)
def test_a_cut_or_missing_fixture_is_found_by_its_bytes_and_by_its_check(golden, name):
    path = golden / name
    path.write_bytes(path.read_bytes()[:-30])
    assert outcome("fixtures") == (False, f"fixture {name} was changed")
    is_right, reason = outcome(USERS[name])
    assert is_right is False
    assert re.search(rf"{name}(: the picture cannot be read| cannot be read)", reason)
    assert "\n" not in reason
    path.unlink()
    for checked in ("fixtures", USERS[name]):
        assert outcome(checked) == (False, f"fixture {name} is missing")


def test_without_its_list_of_digests_no_fixture_is_trusted(golden):
    (golden / fixtures.SUMS).write_text("")
    assert outcome("fixtures") == (False, "SHA256SUMS is empty")
    (golden / fixtures.SUMS).unlink()
    assert outcome("fixtures") == (False, "fixture SHA256SUMS is missing")


def test_the_fixtures_can_be_made_anew(golden, monkeypatch):
    committed = {name: fixtures.numbers(name) for name in (*fixtures.NUMBERS, "logits")}
    sums = fixtures.fixture(fixtures.SUMS).decode()
    for path in golden.iterdir():
        path.unlink()
    monkeypatch.setattr(make, "FOLDER", golden)
    make.main()
    again = fixtures.fixture(fixtures.SUMS).decode()
    assert [line.split()[1] for line in again.splitlines()] == [line.split()[1] for line in sums.splitlines()]
    assert outcome("fixtures")[0]
    for name, arrays in committed.items():
        for key, array in fixtures.numbers(name).items():
            np.testing.assert_allclose(array, arrays[key], rtol=1e-3, atol=1e-3, err_msg=f"{name} {key}")


def test_numbers_that_another_road_does_not_confirm_are_not_made(golden, monkeypatch):
    monkeypatch.setitem(make.ROADS, "pil-bilinear", make.ROADS["pil-bicubic"])
    with pytest.raises(ValueError, match=r"pil-bilinear \d+: .* levels away from the other road"):
        make.compare_kernels()
    arrays = load_file(golden / "decoded.safetensors")
    arrays["cmyk.jpg"] = 255 - arrays["cmyk.jpg"]
    save_file(arrays, golden / "decoded.safetensors")
    with pytest.raises(ValueError, match=r"cmyk\.jpg: decoded .* levels away from what was drawn"):
        make.compare_decoded()

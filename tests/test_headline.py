"""The headline says what the tables say, in text a terminal of 100 columns can show."""

import json
from pathlib import Path

import pandas as pd
import pytest

from eval.headline import write_headline

PROTOCOLS = {"fid": "fid.lite@1", "inception_score": "is.lite@1"}


def _row(system: str, number: int, metric: str, value: float, blur: float = 0, low: float = 0, high: float = 0) -> dict:
    return {
        "experiment": "tiny",
        "system": system,
        "suite": "val",
        "metric": metric,
        "n_candidates": number,
        "blur": blur,
        "value": value,
        "protocol": PROTOCOLS.get(metric, f"{metric}@1"),
        "reference": "all",
        "warning": "64 pictures, too few" if metric == "fid" else "",
        "low": low,
        "high": high,
        "n": 64,
    }


@pytest.fixture
def headline(tmp_path: Path) -> str:
    rows = [
        _row("shuffled", 1, "grounded", 0.01),
        _row("shuffled", 4, "grounded", 0.02, low=0.001, high=0.08),
        _row("dalle1", 4, "fid", 81.26, low=80, high=83),
        _row("dalle1", 4, "fid", 888.0) | {"protocol": "fid.other@1"},
        _row("dalle1", 4, "fid", 777.0) | {"reference": "no-overlap"},
        _row("dalle1", 4, "fid", 999.0, blur=8),
        _row("dalle1", 4, "grounded", 0.46875, low=0.352, high=0.589),
        _row("dalle1", 4, "grounded_any", 0.625),
        _row("dalle1", 1, "inception_score", 3.14159, low=3, high=3.5),
        _row("real", 1, "fid", 12.0),
        _row("dvae", 1, "psnr", 26.04),
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "metrics.parquet")
    (tmp_path / "clip.json").write_text(json.dumps({"relation": {"accuracy": 0.75, "n": 1200}}))
    overlap = {"val": {"captions": 0.125, "contents": 0.0}}
    (tmp_path / "data.json").write_text(json.dumps({"pictures": {"train": 20000, "val": 64}, "overlap": overlap}))
    seen = pd.DataFrame({"suite": "val", "prompt_id": range(100), "overlap": [True] * 21 + [False] * 79})
    seen.to_parquet(tmp_path / "overlap.parquet")
    inputs = [tmp_path / name for name in ("metrics.parquet", "clip.json", "data.json", "overlap.parquet")]
    write_headline(*inputs, tmp_path / "results" / "headline.txt", ["fid.lite@1", "fid.other@1", "is.lite@1"])
    return (tmp_path / "results" / "headline.txt").read_text(encoding="utf-8")


def _cells(headline: str, start: str) -> list[list[str]]:
    return [line.split() for line in headline.splitlines() if line.split()[:1] == [start]]


def test_every_system_and_n_has_its_unblurred_numbers(headline):
    best = ["dalle1", "4", "81.3", "±", "1.5", "46.9", "[35.2", "–", "58.9]", "62.5"]
    assert _cells(headline, "dalle1") == [["dalle1", "1", "3.14", "±", "0.25"], best]
    assert _cells(headline, "dvae") == [["dvae", "1", "26.0"]]
    assert not any(number in headline for number in ("999", "888", "777"))


def test_chance_is_shown_once(headline):
    assert _cells(headline, "shuffled") == [["shuffled", "4", "2.0", "[0.1", "–", "8.0]"]]


def test_yardsticks_stand_above_ours_and_chance_below(headline):
    systems = ["real", "dvae", "dalle1", "shuffled"]
    places = [headline.index(f"\n {system} ") for system in systems]
    assert places == sorted(places)


def test_reranker_data_and_places_are_named(headline, tmp_path):
    assert ["relation", "75.0", "1,200"] in _cells(headline, "relation")
    assert "train 20,000, val 64" in headline
    assert "val 0.0 %" in headline
    assert f"{tmp_path}/results/figures/*.png" in headline
    assert f"{tmp_path}/results/report.html" in headline
    assert headline.endswith("mlflow ui\n")


def test_tables_fit_a_terminal_and_carry_no_colours(headline, tmp_path):
    assert max(len(line) for line in headline.splitlines() if str(tmp_path) not in line) <= 100
    assert "\x1b" not in headline


def test_photographs_have_what_a_model_says_instead_of_grades(tmp_path):
    rows = [
        _row("dalle1", 4, "fid", 81.26, low=80, high=83),
        _row("dalle1", 4, "clip_cos", 0.2181, low=0.21, high=0.226),
        _row("dalle1", 4, "r_precision", 0.25, low=0.1, high=0.5),
        _row("original", 1, "clip_cos", 0.3, low=0.29, high=0.31),
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "metrics.parquet")
    pd.DataFrame({"suite": ["val"] * 4, "overlap": [True, False, False, False]}).to_parquet(tmp_path / "o.parquet")
    (tmp_path / "clip.json").write_text("{}")
    report = {"pictures": {"train": 30}, "overlap": {"val": {"captions": 0.0625}}}
    (tmp_path / "data.json").write_text(json.dumps(report))
    inputs = [tmp_path / name for name in ("metrics.parquet", "clip.json", "data.json", "o.parquet")]
    write_headline(*inputs, tmp_path / "headline.txt", [])
    text = (tmp_path / "headline.txt").read_text(encoding="utf-8")
    assert _cells(text, "dalle1") == [
        ["dalle1", "4", "81.3", "±", "1.5", "0.218", "±", "0.008", "25.0", "[10.0", "–", "50.0]"]
    ]
    assert _cells(text, "original") == [["original", "1", "0.300", "±", "0.010"]]
    assert "captions also in training: val 6.2 %" in text
    assert "near-duplicate in training: val 25.0 %" in text
    assert "right %" not in text and "chance 50 %" not in text

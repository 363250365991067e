"""README.md and docs/scenes.md show the numbers that docs/numbers.json keeps, looked up in a results folder."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from dalle.provenance import ROOT
from workflow import readme
from workflow.readme import BLOCK, MARK, fill, lookup, number_of, table_of

TEXT = "\n".join(page.read_text(encoding="utf-8") for page in readme.PAGES)
KEPT = json.loads((ROOT / "docs/numbers.json").read_text(encoding="utf-8"))


def test_the_readme_shows_the_numbers_that_are_kept() -> None:
    assert len(MARK.findall(TEXT)) >= 20
    assert {block["experiment"] for block in BLOCK.finditer(TEXT)} >= {"scenes"} & KEPT.keys()
    assert fill(TEXT, KEPT) == TEXT, "run: make readme"


def test_a_number_that_drifts_is_seen() -> None:
    shown = re.search(MARK, TEXT)["shown"]
    drifted = TEXT.replace(f"-->{shown}<!-- / -->", "-->999<!-- / -->", 1)
    assert drifted != TEXT and fill(drifted, KEPT) == TEXT
    assert fill(TEXT.replace("48.2 ± 2.7", "47.2 ± 2.7"), KEPT) == TEXT


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Finished results, as small as they can be."""
    rows = [
        ("dalle1", 1, "fid", 0.0, 90.04, 80.0, 100.0),
        ("dalle1", 4, "fid", 0.0, 80.0, 79.0, 82.0),
        ("dalle1", 4, "fid", 8.0, 30.0, 29.0, 31.0),
        ("dalle1", 4, "grounded", 0.0, 0.5, 0.4, 0.6),
        ("real", 1, "fid", 0.0, 12.0, 10.0, 14.0),
        ("shuffled", 1, "fid", 0.0, 80.0, 79.0, 82.0),
        ("shuffled", 4, "fid", 0.0, 80.0, 79.0, 82.0),
    ]
    columns = ["system", "n_candidates", "metric", "blur", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns).assign(suite="val", reference="all")
    (tmp_path / "tables").mkdir()
    pd.concat([table, table.assign(reference="no-overlap", value=0.0)]).to_parquet(tmp_path / "tables/metrics.parquet")
    pd.DataFrame({"rule": ["prior"], "wall_s": [90.0]}).to_parquet(tmp_path / "tables/cost.parquet")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/report.json").write_text('{"picture size": {"accuracy": 0.75, "n": 4}}')
    return tmp_path


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("metrics fid val dalle1 4", 80),
        ("metrics fid val dalle1 4 high", 82),
        ("metrics fid val dalle1 4 blur=8", 30),
        ("metrics fid val dalle1 4 blur=least low", 29),
        ("minutes prior", 1.5),
        ("reranker picture size", 0.75),
    ],
)
def test_a_mark_names_one_number(results: Path, what: str, number: float) -> None:
    assert number_of(results, what.split()) == number


@pytest.mark.parametrize(
    "what", ["metrics fid val dalle1 2", "reranker colour", "votes fid", "metrics fid test real 1"]
)
def test_a_mark_that_names_nothing_is_quoted(results: Path, what: str) -> None:
    with pytest.raises(ValueError, match=f"mark '{what}'"):
        number_of(results, what.split())


def test_the_table_has_a_row_for_each_system_and_chance_once(results: Path) -> None:
    assert table_of(results)[2:] == [
        "| val | `real`: other real pictures | 1 | 12.0 ± 2.0 | | | |",
        "| | `dalle1`: ours | 1 | 90.0 ± 10.0 | | | |",
        "| | | 4 | 80.0 ± 1.5 | | 50.0 (40.0–60.0) | |",
        "| | `shuffled`: ours under wrong captions | 4 | 80.0 ± 1.5 | | | |",
    ]


def test_marks_of_other_experiments_stay(results: Path) -> None:
    text = (
        "a <!-- number: metrics fid val dalle1 4 .0f of=tiny -->?<!-- / --> <!-- number: minutes prior -->3<!-- / -->"
    )
    numbers = {"tiny": lookup(text, results, "tiny")}
    assert numbers["tiny"] == {"metrics fid val dalle1 4": 80.0}
    assert re.sub("<!--.*?-->", "", fill(text, numbers)) == "a 80 3"


def test_the_command_writes_both_files(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "PAGES", (tmp_path / "README.md",))
    monkeypatch.setattr(readme, "NUMBERS", tmp_path / "numbers.json")
    (tmp_path / "README.md").write_text(
        f"<!-- number: minutes prior of={results.name} -->0<!-- / -->", encoding="utf-8"
    )
    readme.main([str(results)])
    assert "-->1.5<!--" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "numbers.json").read_text()) == {results.name: {"minutes prior": 1.5}}

"""Two results folders agree row by row: to the last bit on one machine, within stated tolerances across machines."""

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from dalle.verify.comparison import compare, other_experiments, other_machines
from dalle.verify.record import Job, Record
from dalle.verify.report import verify_two
from dalle.verify.tolerances import ACROSS, is_trained

ABOUT = {
    "suite": "val",
    "protocol": "fid.lite@1",
    "metric": "fid",
    "blur": 0.0,
    "blur_protocol": "",
    "reference": "all",
}
COUNTS = {"n": 256, "n_reference": 256, "seed": 0, "extractor_digest": "e0", "warning": ""}


def tables(folder: Path, **changes: float) -> Path:
    """Tables of one row about ours and one about real pictures each; ``changes`` are added to values, by system."""
    rows = [
        {**ABOUT, **COUNTS, "system": system, "n_candidates": 1, "value": value + changes.get(system, 0.0)}
        for system, value in (("dalle1", 100.0), ("real", 50.0))
    ]
    (folder / "tables").mkdir(parents=True)
    metrics = pd.DataFrame(rows).assign(low=90.0, high=110.0, experiment="tiny")
    metrics.to_parquet(folder / "tables/metrics.parquet")
    paired = metrics.assign(other="real", other_n_candidates=1)
    paired.to_parquet(folder / "tables/differences.parquet")
    scores = [{"prompt_id": prompt, "candidate": 0, **row} for prompt in range(2) for row in rows]
    pd.DataFrame(scores).drop(columns=[*COUNTS, "blur"]).to_parquet(folder / "tables/image_scores.parquet")
    return folder


def beyond(first: Path, second: Path, exact: bool) -> dict[str, int]:
    return {found.table: found.beyond for found in compare(first, second, exact)}


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return tables(tmp_path / "first")


@pytest.mark.parametrize("exact", [True, False])
def test_equal_tables_agree(first: Path, tmp_path: Path, exact: bool) -> None:
    found = list(compare(first, tables(tmp_path / "second"), exact))
    assert [one.table for one in found] == ["metrics", "differences", "image_scores"]
    assert [one.rows for one in found] == [2, 2, 4 if exact else 2]  # pictures by trained models differ
    assert sum(one.beyond + one.lone for one in found) == 0


def test_one_machine_forgives_nothing(first: Path, tmp_path: Path) -> None:
    second = tables(tmp_path / "second", dalle1=1e-12)
    assert beyond(first, second, exact=True) == {"metrics": 1, "differences": 1, "image_scores": 2}
    assert beyond(first, second, exact=False) == {"metrics": 0, "differences": 0, "image_scores": 0}


def test_a_word_counts_on_one_machine_and_a_number_of_pictures_everywhere(first: Path, tmp_path: Path) -> None:
    second = tables(tmp_path / "second")
    table = second / "tables/metrics.parquet"
    pd.read_parquet(table).assign(warning="few").to_parquet(table)
    assert beyond(first, second, exact=True)["metrics"] == 2
    assert beyond(first, second, exact=False)["metrics"] == 0
    pd.read_parquet(table).assign(n=255).to_parquet(table)
    assert beyond(first, second, exact=False)["metrics"] == 2


@pytest.mark.parametrize(
    ("system", "difference", "is_beyond"),
    [
        ("dalle1", 14.1, False),  # two intervals of ± 10 beside each other: ± 14.14
        ("dalle1", 14.2, True),
        ("real", 0.9 * 50 * ACROSS["fid"].relative, False),
        ("real", 1.1 * 50 * ACROSS["fid"].relative, True),
    ],
)
def test_across_machines_training_may_differ_by_the_intervals_and_arithmetic_hardly(
    first: Path, tmp_path: Path, system: str, difference: float, is_beyond: bool
) -> None:
    assert beyond(first, tables(tmp_path / "second", **{system: difference}), exact=False)["metrics"] == is_beyond


def test_the_floor_stands_where_there_is_no_interval(tmp_path: Path) -> None:
    folders = [tables(tmp_path / "a"), tables(tmp_path / "b", dalle1=ACROSS["fid"].floor * 1.01)]
    for folder in folders:
        table = folder / "tables/metrics.parquet"
        pd.read_parquet(table).assign(low=None, high=None).astype({"low": float, "high": float}).to_parquet(table)
    assert beyond(*folders, exact=False)["metrics"] == 1
    assert beyond(folders[0], folders[0], exact=True)["metrics"] == 0


def test_rows_of_one_folder_alone_and_a_missing_table_are_told(first: Path, tmp_path: Path) -> None:
    second = tables(tmp_path / "second")
    table = second / "tables/metrics.parquet"
    pd.read_parquet(table).assign(system=["dalle1", "theirs"]).to_parquet(table)
    assert [one.lone for one in compare(first, second, exact=True)] == [2, 0, 0]
    table.unlink()
    with pytest.raises(ValueError, match=r"metrics\.parquet: there is no such table"):
        list(compare(first, second, exact=True))


def test_a_number_that_is_missing_on_one_side_is_infinitely_far(first: Path, tmp_path: Path) -> None:
    second = tables(tmp_path / "second", real=float("nan"))
    assert beyond(first, second, exact=False)["metrics"] == 1
    assert beyond(second, second, exact=True)["metrics"] == 0


def test_training_enters_by_system_other_system_and_judge() -> None:
    rows = pd.DataFrame(
        {"system": ["real", "dvae", "real", "theirs"], "protocol": ["fid.a@1"] * 2 + ["clip.own@1"] * 2}
    )
    assert is_trained(rows).tolist() == [False, True, True, True]
    assert is_trained(rows.assign(other="dalle1", protocol="fid.a@1")).all()


def record(processor: str = "A", threads: int = 1, code: str = "c0", width: int = 8, commit: str = "0") -> Record:
    job = Job(
        rule="prior", wildcards={}, params={"code": code}, threads=threads, environment=0, read={}, given={}, made={}
    )
    digests = {"experiment": "0" * 64, "code": "0" * 64, "data": "0" * 64, "given": "0" * 64, "weights": {}}
    values = {"format": 1, "experiment": "tiny", "seed": 0, "settings": {"prior": {"width": width}}, "texts": {}}
    places = [{"processor": processor, "commit": commit}]
    return Record(**values, digests=digests, environments=places, jobs=[job], digest="0" * 64)


def test_one_machine_is_the_same_processor_and_threads_at_any_commit() -> None:
    assert other_machines(record(), record(commit="1")) == []
    assert other_machines(record(), record(processor="B")) == ["processor: A / B"]
    assert other_machines(record(), record(threads=2)) == ["threads: 1 / 2"]


def test_other_settings_and_code_are_named() -> None:
    assert other_experiments(record(), record()) == []
    assert other_experiments(record(), record(code="c1", width=16)) == ["prior.width: 8 / 16", "code of prior"]


def test_the_comparison_ends_in_a_table_and_a_verdict(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = {first: record(), tmp_path / "second": record(processor="B")}
    monkeypatch.setattr("dalle.verify.report.read_record", machines.__getitem__)
    second = tables(tmp_path / "second", real=1.0)
    console = Console(width=120, record=True)
    assert not verify_two(first, second, console)
    printed = console.export_text()
    assert "processor: A / B" in printed and "within the tolerances across machines" in printed
    assert printed.splitlines()[-1] == "4 rows disagree"
    assert verify_two(first, first, console)

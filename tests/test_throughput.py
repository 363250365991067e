"""Speeds are work over time, and what is not known has no speed."""

import pandas as pd
import pytest

from eval.throughput import write_throughput

STAGES = {
    "dvae": {"batch_size": 16, "unit": "pictures"},
    "prior": {"batch_size": 32, "unit": "tokens", "units_an_example": 80},
    "clip": {"batch_size": 8, "unit": "pairs"},
}


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    cost = {"dvae": 4.0, "prior": 10.0, "clip": 2.0, "codes": 5.0, "sample": 8.0, "metrics": 1.0}
    pd.DataFrame({"rule": list(cost), "wall_s": list(cost.values())}).to_parquet(tmp_path / "cost.parquet")
    for stage, steps in (("dvae", [0, 10, 19]), ("prior", [0, 99]), ("clip", [])):  # clip: nothing was trained
        pd.DataFrame({"step": steps}).to_csv(tmp_path / f"{stage}.csv", index=False)
    pd.DataFrame({"prompt_id": range(50)}).to_parquet(tmp_path / "train.parquet")
    for block in "01":
        pd.DataFrame({"codes": [[1] * 64] * 3}).to_parquet(tmp_path / f"{block}.parquet")
    write_throughput(
        tmp_path / "cost.parquet",
        {stage: tmp_path / f"{stage}.csv" for stage in STAGES},
        STAGES,
        [tmp_path / "train.parquet"],
        [tmp_path / "0.parquet", tmp_path / "1.parquet"],
        tmp_path / "throughput.parquet",
    )
    return pd.read_parquet(tmp_path / "throughput.parquet").set_index("rule")


def test_speed_is_work_over_time(table):
    assert table["per_second"].to_dict() == {
        "dvae": 20 * 16 / 4,
        "prior": 100 * 32 * 80 / 10,
        "codes": 50 / 5,
        "sample": 6 * 64 / 8,
    }
    assert table["unit"].to_dict() == {"dvae": "pictures", "prior": "tokens", "codes": "pictures", "sample": "tokens"}


def test_what_was_not_run_or_not_timed_has_no_speed(table):
    assert not {"clip", "score", "metrics"} & set(table.index)

"""Tables come back as they were written; cost is counted by rule."""

import numpy as np
import pandas as pd
import pytest

from eval.tables import in_brief, read_table, write_cost, write_table

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def benchmark(path, seconds, rss, cpu):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}\n{seconds}\t0:00:01\t{rss}\t1\t1\t1\t0\t0\t90\t{cpu}\n", encoding="utf-8")
    return path


def test_a_table_comes_back_and_has_its_csv_beside_it(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "n": [1, 2], "value": [0.1, np.nan]})
    write_table(frame, tmp_path / "tables" / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "tables" / "t.parquet"), frame)
    assert (tmp_path / "tables" / "t.csv").read_text(encoding="utf-8") == "name,n,value\na,1,0.1\nb,2,\n"
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["t.csv", "t.parquet"]


def test_equal_frames_are_equal_bytes(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "value": [0.1, np.nan]})
    write_table(frame, tmp_path / "a.parquet")
    write_table(frame.copy(), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_cost_adds_jobs_of_a_rule_and_takes_the_largest_memory(tmp_path):
    root = tmp_path / "benchmarks" / "clone" / "results" / "scenes" / "benchmarks"
    files = [
        benchmark(root / "features" / "dalle1" / "val.tsv", 10.5, 900, 9),
        benchmark(root / "features" / "real" / "val.tsv", 2, 1200, 1.5),
        benchmark(root / "data.tsv", 0.2, "NA", "NA"),
    ]
    write_cost(files, tmp_path / "cost.parquet")
    expected = pd.DataFrame(
        {
            "rule": ["data", "features"],
            "jobs": [1, 2],
            "wall_s": [0.2, 12.5],
            "cpu_s": [0, 10.5],
            "max_rss_mb": [np.nan, 1200],
        }
    )
    pd.testing.assert_frame_equal(read_table(tmp_path / "cost.parquet"), expected)


def test_a_benchmark_file_elsewhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected …/benchmarks/RULE\.tsv"):
        write_cost([benchmark(tmp_path / "data.tsv", 1, 1, 1)], tmp_path / "cost.parquet")
    assert not (tmp_path / "cost.parquet").exists()


def test_in_brief_a_table_has_ours_at_the_largest_n(tmp_path):
    rows = [
        ("dalle1", "val", "fid", 1, 0.0, "all", 90.0),
        ("dalle1", "val", "fid", 4, 0.0, "all", 80.25),
        ("dalle1", "val", "fid", 4, 8.0, "all", 30.0),
        ("dalle1", "val", "fid", 4, 0.0, "no-overlap", 85.0),
        ("dalle1", "zeroshot", "fid", 4, 0.0, "all", 99.0),
        ("real", "val", "fid", 1, 0.0, "all", 10.0),
        ("dalle1", "val", "grounded", 4, 0.0, "", 0.5),
    ]
    columns = ["system", "suite", "metric", "n_candidates", "blur", "reference", "value"]
    write_table(pd.DataFrame(rows, columns=columns), tmp_path / "metrics.parquet")
    assert in_brief(tmp_path / "metrics.parquet") == "FID 80.2, right 50.0 %: dalle1 on val, best of 4"

"""The plan for a cluster: in closed form, and against the jobs that Snakemake itself would start."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import copy_project, snakemake

from dalle.config.reading import load_config
from dalle.plan.cluster import START, STORAGE, Drawing, cluster_sections, drawing, num_files, training_hours
from dalle.plan.cost import Cluster, find_chip, gpu_hours
from dalle.plan.flops import forward_flops, training_flops
from dalle.plan.work import Work, read_work

CONFIG = {
    "experiment": "tiny",
    "sampling": {"n_candidates": [1, 2, 4, 8, 16], "block": 4, "shards": 3},
    "rerank": {"model": "ViT-B-32", "pretrained": "openai"},
}


@pytest.fixture(scope="module")
def work() -> Work:
    return read_work(load_config(CONFIG))


def cluster(gpus: int) -> Cluster:
    return Cluster(find_chip("H100"), gpus, min(gpus, 8), 0.4)


@pytest.mark.parametrize(
    ("gpus", "rounds", "hours", "idle"), [(1, 12, 24.0, 0.0), (8, 2, 4.0, 0.25), (64, 1, 2.0, 0.8125)]
)
def test_twelve_jobs_of_two_hours_on_so_many_gpus(gpus: int, rounds: int, hours: float, idle: float) -> None:
    drawn = Drawing(gpus, jobs=12, busy=18.0, waiting=6.0)
    assert (drawn.rounds, drawn.hours, drawn.idle) == (rounds, hours, idle)
    assert drawn.calls_an_hour == 2 * 12 * 9 / hours + 4 * 90


def test_a_job_waits_for_snakemake_and_for_its_weights(work: Work) -> None:
    from dalle.plan.parameters import num_parameters
    from dalle.plan.work import prior_without_numbers

    seconds = START + 4 * num_parameters(prior_without_numbers(work.shape)) / STORAGE
    assert drawing(work, cluster(1)).waiting == pytest.approx(12 * seconds / 3600)


def test_training_takes_an_eighth_of_the_time_on_eight_gpus(work: Work) -> None:
    alone, together = (training_hours(work, cluster(gpus)) for gpus in (1, 8))
    assert together == {stage: pytest.approx(hours / 8) for stage, hours in alone.items()}
    flops = training_flops(forward_flops(work.shape, dense=False), recompute=False)
    assert alone["prior"] == gpu_hours(flops * work.prior.batch_size * work.prior.steps, cluster(1))


def test_jobs_and_files_are_those_that_snakemake_plans(work: Work, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    planned = snakemake(folder, "--dry-run", "--configfile", "tiny.yaml")
    rules = Counter(re.findall(r"^rule (\w+):$", planned, flags=re.MULTILINE))
    assert rules["sample"] == rules["score"] == work.jobs == 12
    lists = re.findall(r"^    (?:output|benchmark|log): (.+)$", planned, flags=re.MULTILINE)
    files = {path for line in lists for path in line.split(", ")}
    drawn = [path for path in files if re.search(r"/(candidates|scores|sample|score)/", path)]
    assert num_files(work) == len(drawn) == 96


def test_the_tables_have_a_column_for_each_cluster(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    on_gpus, storage = cluster_sections(config, "H100", (1, 8, 64))
    assert on_gpus.columns == ("GPUs", "1", "8", "64")
    assert all(len(row) == 4 for row in on_gpus.rows)
    assert "24 jobs" in on_gpus.title
    assert dict(zip(storage.columns, storage.rows[2], strict=True))["files"] == "96"


def test_numbers_of_gpus_are_whole_machines(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    with pytest.raises(ValueError, match="12 GPUs, 8 a machine: allowed are whole machines"):
        cluster_sections(config, "H100", (1, 12))

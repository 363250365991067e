"""The smoke experiment through sbatch, and what only a scheduler does: memory that ends a job, trainings on two nodes.

Slurm itself is started for it (tests/slurm/start.py). It takes minutes, so it is asked for: ``pytest --slurm``.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SMOKE, copy_project, environment
from slurm.start import missing_programs, slurm

from dalle.config.training import Optimisation
from dalle.provenance import ROOT, file_digest

PROFILE = ("--profile", "workflow/profiles/slurm")
# There is no accounting database here, so squeue is asked, and often, as jobs are short. The threads are those of a run
# without Slurm.
HERE = (
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--jobs", "4", "--latency-wait", "10", "--set-threads", "prior=2"),
)
ON_GPUS = {"dvae", "codes", "prior", "clip", "sample", "score", "features", "agreement", "completions"}
SAME = ("data/val.parquet", "prior/weights.safetensors", "tables/metrics.parquet", "tables/image_scores.parquet")


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of somebody on a cluster's login node."""
    if not request.config.getoption("--slurm"):
        pytest.skip("takes minutes: pytest --slurm")
    if missing := missing_programs():
        pytest.skip(f"Slurm is not installed: {', '.join(missing)} missing")
    if os.geteuid():
        pytest.skip("a Slurm of one's own needs root, in whose name its nodes start jobs")
    with slurm(tmp_path_factory.mktemp("slurm")) as variables:
        partitions = {"SNAKEMAKE_SLURM_PARTITIONS": str(ROOT / "workflow/profiles/slurm/partitions.yaml")}
        yield environment() | variables | partitions


def submit(folder: Path, variables: dict[str, str], *arguments: str) -> str:
    """What Snakemake prints, run in ``folder`` with our profile; it must succeed."""
    asked = [sys.executable, "-m", "snakemake", *arguments, *PROFILE, *SMOKE, *HERE]
    ran = subprocess.run(asked, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def accounts(variables: dict[str, str]) -> pd.DataFrame:
    """Every job that Slurm remembers: rule, partition, GPUs (gres), memory asked for, state."""
    columns = {"comment": "%k", "partition": "%P", "gpus": "%b", "memory": "%m", "state": "%T"}
    asked = ["squeue", "--noheader", "--states=all", "--format=" + "|".join(columns.values())]
    printed = subprocess.run(asked, env=variables, capture_output=True, text=True, check=True).stdout
    jobs = pd.DataFrame([line.split("|") for line in printed.splitlines()], columns=list(columns))
    return jobs.assign(rule=jobs["comment"].str.extract(r"rule_(.+?)(?:_wildcards_.*)?$", expand=False))


def test_a_job_killed_for_its_memory_is_tried_again_with_more(cluster: dict[str, str], tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project")
    said = submit(
        folder, cluster, "results/smoke/data/val.parquet", "--set-resources", "scenes:mem_mb=100 * 40 ** (attempt - 1)"
    )
    assert "Trying to restart job" in said
    assert (folder / "results/smoke/data/val.parquet").exists()
    jobs = accounts(cluster).query("rule == 'scenes'").sort_values("memory")
    assert dict(zip(jobs["memory"], jobs["state"], strict=True)) == {"100M": "FAILED", "4000M": "COMPLETED"}


TRAINING = """
import sys
from pathlib import Path
import torch
from little_stage import train
from dalle.config.distributed import Distributed
from dalle.config.training import Optimisation
settings = Optimisation(steps=10, batch_size=16, learning_rate=1e-2, warmup=2)
pair = Distributed(processes=2, kind="fsdp", shards=2)  # of each node; its shards are exchanged within it
torch.save(train(Path("two"), settings.model_copy(update={"distributed": pair})), "two.pt")
"""


def test_a_training_on_two_nodes_ends_where_one_process_does(cluster: dict[str, str], tmp_path: Path) -> None:
    from little_stage import train

    (tmp_path / "script.py").write_text(TRAINING, encoding="utf-8")
    step = shlex.join(["srun", "--ntasks=1", sys.executable, "script.py"])  # as Snakemake starts a rule's script
    asked = ["sbatch", "--wait", "--nodes=2", "--gres=gpu:2", "--mem=8000", "--output=out", "--wrap", step]
    places = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    ran = subprocess.run(asked, env=cluster | places, cwd=tmp_path, check=False, capture_output=True, text=True)
    said = ran.stderr + (tmp_path / "out").read_text(encoding="utf-8")
    assert ran.returncode == 0, said
    assert said.count("10/10") == 1, said  # one of the four speaks
    found = torch.load(tmp_path / "two.pt")
    expected = train(tmp_path / "one", Optimisation(steps=10, batch_size=16, learning_rate=1e-2, warmup=2))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-5)


def test_the_smoke_experiment_through_sbatch_ends_with_the_same_tables(
    cluster: dict[str, str], smoke: tuple[Path, str], tmp_path: Path
) -> None:
    folder = copy_project(tmp_path / "project")
    said = submit(folder, cluster)
    assert (folder / "results/smoke/headline.txt").read_text(encoding="utf-8").strip() in said
    digests = [{name: file_digest(root / "results/smoke" / name) for name in SAME} for root in (folder, smoke[0])]
    assert digests[0] == digests[1]
    jobs = accounts(cluster)
    assert set(jobs.loc[jobs["partition"] == "gpu", "rule"]) == ON_GPUS
    assert set(jobs.loc[jobs["partition"] == "cpu", "rule"]) >= {
        "scenes",
        "tokenizer",
        "winners",
        "metrics",
        "headline",
    }

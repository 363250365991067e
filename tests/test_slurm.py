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
from conftest import SMOKE, copy_project, environment
from slurm.start import missing_programs, slurm

from dalle.provenance import ROOT, file_digest

PROFILE = ("--profile", "workflow/profiles/slurm")
# There is no accounting database here, so squeue is asked, and often, as jobs are short. The threads are those of a run
# without Slurm.
HERE = (
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--jobs", "2", "--latency-wait", "10", "--set-threads", "prior=2"),
)
ON_GPUS = {"dvae", "codes", "prior", "clip", "sample", "score", "features", "agreement"}
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


def test_a_training_has_a_process_for_each_gpu_of_each_node(cluster: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "meet.py"
    script.write_text(
        "import os, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "total = torch.ones(1) * dist.get_rank()\n"
        "dist.all_reduce(total)\n"
        "print('met', os.environ['SLURMD_NODENAME'], dist.get_world_size(), total.item(), flush=True)\n"
        "dist.destroy_process_group()\n",
        encoding="utf-8",
    )
    starts = (
        "import os, subprocess; from dalle.training.nodes import environment, num_nodes, torchrun; "
        f"subprocess.run(torchrun([{str(script)!r}], 2, num_nodes()), env=environment(os.environ), check=True)"
    )
    inside = shlex.join(["srun", "--ntasks=1", sys.executable, "-c", starts])  # as Snakemake starts a rule's script
    asked = ["sbatch", "--wait", "--nodes=2", "--gres=gpu:2", "--mem=8000", f"--output={tmp_path / 'out'}"]
    subprocess.run([*asked, "--wrap", inside], env=cluster, cwd=ROOT, check=False, capture_output=True)
    said = (tmp_path / "out").read_text(encoding="utf-8")
    met = sorted(line for line in said.splitlines() if line.startswith("met"))
    assert met == ["met node1 4 6.0"] * 2 + ["met node2 4 6.0"] * 2, said


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

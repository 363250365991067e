"""The DAG: what an edit reruns (dry runs over empty files), and the smoke experiment, run for real."""

import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import SMOKE, call, command, copy_project, environment, snakemake

from dalle.config.reading import load_config
from dalle.provenance import ROOT, file_digest

SYSTEMS = {"dalle1", "real", "dvae", "dvae_start", "shuffled"}
RECORDED = {"provenance": 1, "report": 1, "mirror": 1, "all": 1}  # follow whatever changes
# What follows from the metrics table, whatever changed in it.
REPORT = {"metrics": 1, "cost": 1, "plot_figure9": 1, "plot_candidates": 1, "headline": 1, **RECORDED}
REPORT |= {"throughput": 1}


def jobs(output: str) -> Counter:
    """How many jobs of each rule a dry run would start."""
    return Counter(re.findall(r"^(?:local)?rule (\w+):$", output, flags=re.MULTILINE))


def planned_files(output: str) -> set[str]:
    """Outputs and benchmarks of the jobs of a dry run."""
    lists = re.findall(r"^    (?:output|benchmark): (.+)$", output, flags=re.MULTILINE)
    return {path for line in lists for path in line.split(", ")}


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(file: Path, text: str) -> None:
    file.write_text(f"{file.read_text(encoding='utf-8')}{text}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def pretended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the default experiment seems to have run: its files are there, and empty."""
    folder = copy_project(tmp_path_factory.mktemp("pretended"))
    for name in planned_files(snakemake(folder, "--dry-run")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    snakemake(folder, "--touch")
    return folder


@pytest.fixture
def finished(pretended: Path, tmp_path: Path) -> Path:
    """A copy of ``pretended`` for a test to edit."""
    return shutil.copytree(pretended, tmp_path / "finished")


def test_after_a_run_nothing_is_to_be_done(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "--dry-run")


@pytest.mark.parametrize("file", ["dalle/models/transformer.py", "dalle/training/fit.py", "eval/sweep.py"])
def test_a_comment_or_a_docstring_reruns_nothing(finished: Path, file: str) -> None:
    append(finished / file, "# a comment")
    replace(finished / file, '"""', '"""In other words: ')
    assert jobs(snakemake(finished, "--dry-run")) == {}


def test_a_new_default_reruns_only_the_rules_that_use_the_setting(finished: Path) -> None:
    replace(
        finished / "dalle/config/human.py", "Human(Settings):", "Human(Settings):\n    page_size: Positive = Field(1)\n"
    )
    expected = {"human_tasks": 2, "human_report": 1, "report": 1, **RECORDED}
    assert jobs(snakemake(finished, "--dry-run")) == expected


def test_an_edit_of_the_transformer_retrains_the_prior_and_what_follows(finished: Path) -> None:
    append(finished / "dalle/models/transformer.py", "DEPTH = 7")
    planned = jobs(snakemake(finished, "--dry-run"))
    assert planned.keys() >= {"prior", "sample", "score", "winners", "dalle1", "features", "metrics"}
    assert planned.keys().isdisjoint({"scenes", "tokenizer", "dvae", "codes", "clip", "real", "reconstructions"})


def test_a_new_radius_extracts_only_its_own_features(finished: Path) -> None:
    append(finished / "workflow/config/scenes.yaml", "evaluation: {blur: [0, 1, 2, 4, 8, 16]}")
    output = snakemake(finished, "--dry-run")
    assert jobs(output) == {"features": 1, **REPORT}
    assert {name for name in planned_files(output) if "/features/" in name and "blur16" not in name} == set()


def test_a_radius_less_computes_the_metrics_anew_and_extracts_nothing(finished: Path) -> None:
    append(finished / "workflow/config/scenes.yaml", "evaluation: {blur: [0, 4]}")
    assert jobs(snakemake(finished, "--dry-run")) == REPORT


def test_twice_the_candidates_draws_only_the_new_ones(finished: Path) -> None:
    append(finished / "workflow/config/scenes.yaml", "sampling: {n_candidates: [1, 2, 4, 8, 16, 32, 64]}")
    output = snakemake(finished, "--dry-run")
    planned = jobs(output)
    drawn = {name.split("/", 2)[2] for name in planned_files(output) if "/candidates/" in name}
    assert drawn == {f"candidates/{suite}/{shard}/1.parquet" for suite in ("val", "zeroshot") for shard in (0, 1)}
    assert (planned["sample"], planned["score"], planned["winners"]) == (2, 2, 2)
    assert planned.keys().isdisjoint({"scenes", "dvae", "codes", "prior", "clip", "real", "reconstructions"})


def test_a_sampling_setting_resamples_and_retrains_nothing(finished: Path) -> None:
    append(finished / "workflow/config/scenes.yaml", "sampling: {temperature: 0.8}")
    planned = jobs(snakemake(finished, "--dry-run"))
    assert planned["sample"] == 2
    assert planned.keys().isdisjoint({"prior", "clip", "dvae"})


def test_more_rows_at_once_draw_nothing(finished: Path) -> None:
    append(finished / "workflow/config/scenes.yaml", "sampling: {rows: 64}")
    assert jobs(snakemake(finished, "--dry-run")) == {"report": 1, **RECORDED}  # all hold all settings


def test_another_reranker_scores_anew_and_draws_nothing(finished: Path) -> None:
    (finished / "theirs.pt").touch()
    append(finished / "workflow/config/scenes.yaml", "rerank: {model: ViT-B-32, pretrained: theirs.pt}")
    planned = jobs(snakemake(finished, "--dry-run"))
    assert (planned["score"], planned["winners"], planned["dalle1"]) == (2, 2, 2)
    assert planned.keys().isdisjoint({"sample", "prior", "clip", "dvae"})


def test_a_new_metric_extracts_and_draws_nothing(finished: Path) -> None:
    append(finished / "eval/registry.py", 'METRICS["fid_twice"] = METRICS["fid"]')
    assert jobs(snakemake(finished, "--dry-run")) == REPORT


def test_a_word_about_a_protocol_reruns_nothing_and_a_new_meaning_what_it_touches(finished: Path) -> None:
    protocol = finished / "eval/protocols/is.imagenet-lite.yaml"
    replace(protocol, "about: >-", "about: >-\n  In other words.")
    assert jobs(snakemake(finished, "--dry-run")) == {}
    replace(protocol, "splits: 10", "splits: 5")
    assert jobs(snakemake(finished, "--dry-run")) == REPORT
    replace(finished / "eval/protocols/fid.imagenet-lite.yaml", "side: 128", "side: 96")
    assert jobs(snakemake(finished, "--dry-run")) == {"features": 5, **REPORT}


def test_another_systems_pictures_are_taken_in_and_judged_beside_ours(finished: Path) -> None:
    (finished / "theirs").mkdir()
    (finished / "theirs/a.png").write_bytes(b"")
    (finished / "theirs.csv").write_text("file,prompt_id\na.png,0\n", encoding="utf-8")
    append(finished / "workflow/config/scenes.yaml", "systems: {theirs: {path: theirs, manifest: theirs.csv}}")
    output = snakemake(finished, "--dry-run")
    judged = {"external": 1, "features": 5, "agreement": 1, "image_scores": 1, "sample_grid": 2}
    assert jobs(output) == {**judged, **REPORT}
    assert {name for name in planned_files(output) if "/theirs/" in name and "zeroshot" in name} == set()


def test_a_figure_is_drawn_anew_alone(finished: Path) -> None:
    append(finished / "eval/grids.py", "DARK = True")
    assert jobs(snakemake(finished, "--dry-run")) == {"sample_grid": 2, "reconstruction_grid": 1, **RECORDED}


def test_snakemakes_own_report_has_every_result_with_its_caption(finished: Path) -> None:
    snakemake(finished, "--report", "snakemake-report.zip")
    with zipfile.ZipFile(finished / "snakemake-report.zip") as report:
        names = {Path(name).name for name in report.namelist()}
        page = "".join(report.read(name).decode() for name in report.namelist() if name.endswith((".html", ".js")))
    figures = {"figure9", "candidates", "training", "human", "reconstructions", "samples_val", "samples_zeroshot"}
    assert names >= {f"{figure}.png" for figure in figures} | {"report.html", "headline.txt"}
    assert "The paper's figure 9" in page and "Suite zeroshot: the first captions" in page


def test_a_config_file_stands_alone(finished: Path) -> None:
    append(finished / "workflow/config/scenes.yaml", "evaluation: {blur: [0, 32]}")
    output = snakemake(finished, "--dry-run", *SMOKE)
    assert "blur32" not in output
    assert "results/scenes" not in output
    assert jobs(output)["features"] == 2


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "workflow/config").glob("*.yaml")))
def test_every_shipped_experiment_has_a_plan(finished: Path, name: str) -> None:
    output = snakemake(finished, "--dry-run", "--forceall", "--configfile", f"workflow/config/{name}")
    assert jobs(output)["all"] == 1


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ("priro: {}", r"Error: config key priro is unknown; did you mean prior\?"),
        ("evaluation: {blur: [0, -1]}", r"Error: config key evaluation: blur: .* must be distinct radii ≥ 0"),
        (
            "evaluation: {protocols: [blur.pil@1]}",
            r"Error: config key evaluation: protocols: blur\.pil@1 measures noth",
        ),
        ("evaluation: {blur_protocol: fid.clean@1}", r"Error: config key evaluation: .* is of another family"),
        (
            "evaluation: {protocols: [fid.tf@1]}",
            r"Error: config key evaluation: protocol 'fid\.tf@1' is unknown; did you mean",
        ),
        ("data: {image_size: 60}", r"Error: config.*: dvae\.downsample: 8 does not divide"),
    ],
)
def test_a_bad_config_is_one_line_and_no_job(finished: Path, mistake: str, says: str) -> None:
    append(finished / "workflow/config/scenes.yaml", mistake)
    ran = call(finished)
    assert ran.returncode != 0
    assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr
    assert re.match(says, ran.stderr)


def test_a_run_with_nothing_to_do_says_the_headline_again(finished: Path) -> None:
    headline = finished / "results/scenes/headline.txt"
    made = headline.stat()
    headline.write_text("the table\n", encoding="utf-8")
    os.utime(headline, ns=(made.st_atime_ns, made.st_mtime_ns))
    ran = call(finished)
    assert "Nothing to be done" in ran.stderr and ran.stdout.startswith("the table\n")


@pytest.mark.parametrize(("answer", "is_left"), [(1, False), (0, True)], ids=["nobody runs", "somebody runs"])
def test_make_run_removes_the_lock_of_a_dead_run_alone(finished: Path, answer: int, is_left: bool) -> None:
    lock = finished / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/scenes/headline.txt\n", encoding="utf-8")
    (finished / "results/scenes/headline.txt").unlink()
    assert "Directory cannot be locked" in call(finished).stderr
    for name, code in (("pgrep", answer), ("python", 0)):
        program = finished / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
        program.chmod(0o755)
    asked = ["make", "READY=", f"BIN={finished}/bin", "run"]  # no set-up: the programs above stand in
    subprocess.run(asked, cwd=finished, env=environment(), capture_output=True, check=True)
    assert lock.exists() == is_left


# The rest looks at the smoke experiment (conftest.py), run once for all tests.


def test_the_metrics_have_every_cell_of_the_sweep(smoke: tuple[Path, str]) -> None:
    settings = load_config(yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8")))
    table = pd.read_parquet(smoke[0] / "results/smoke/tables/metrics.parquet")
    ours = table[table["system"] == "dalle1"]
    assert set(table["system"]) == SYSTEMS
    for metric in ("fid", "kid", "precision", "inception_score"):
        for _, rows in table[table["metric"] == metric].groupby(["system", "suite", "n_candidates"]):
            assert set(rows["blur"]) == set(settings.evaluation.blur)
    for _, rows in ours[ours["metric"].isin(["fid", "inception_score", "grounded"])].groupby(["suite", "metric"]):
        assert set(rows["n_candidates"]) == set(settings.sampling.n_candidates)
    sizes = {"val": settings.data.val, "zeroshot": settings.data.zeroshot}
    assert table.groupby("suite")["n"].unique().map(list).to_dict() == {name: [n] for name, n in sizes.items()}
    assert set(table[table["metric"] == "psnr"]["system"]) == {"dvae", "dvae_start"}
    assert table[["low", "value", "high"]].apply(lambda row: row.is_monotonic_increasing, axis=1).all()
    assert table[["low", "value", "high", "n", "seed"]].notna().all(axis=None)
    assert (table["protocol"].str.match(r"^[a-z0-9-]+\.[a-z0-9-]+@\d+$")).all()
    of_features = table["protocol"].str.startswith("fid.")
    assert (table.loc[of_features, "n_reference"] > 0).all() and (
        table.loc[of_features, "extractor_digest"] != ""
    ).all()


def test_csv_and_parquet_say_the_same(smoke: tuple[Path, str]) -> None:
    for table in ("metrics", "differences", "image_scores", "cost"):
        place = smoke[0] / f"results/smoke/tables/{table}"
        parquet, csv = pd.read_parquet(f"{place}.parquet"), pd.read_csv(f"{place}.csv", keep_default_na=True)
        assert list(parquet.columns) == list(csv.columns)
        assert len(parquet) == len(csv) > 0


def test_the_run_ends_with_the_headline(smoke: tuple[Path, str]) -> None:
    headline = (smoke[0] / "results/smoke/headline.txt").read_text(encoding="utf-8")
    assert headline.strip() in smoke[1]
    assert "mlflow ui" in headline


def test_every_job_keeps_its_log(smoke: tuple[Path, str]) -> None:
    logs = {path.relative_to(smoke[0] / "results/smoke/logs").parts[0] for path in smoke[0].rglob("logs/**/*.log")}
    elsewhere = {"conda_twin", "external", "photographs", "overlap", "data_report"}  # not of this experiment
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")} - elsewhere
    assert {name.removesuffix(".log") for name in logs if not name.endswith("snakemake.log")} >= scripts


def test_after_the_smoke_run_nothing_is_to_be_done(smoke: tuple[Path, str]) -> None:
    assert "Nothing to be done" in snakemake(smoke[0], *SMOKE, "--dry-run")


def test_an_unreadable_picture_is_named_and_leaves_nothing_half_written(
    smoke: tuple[Path, str], tmp_path: Path
) -> None:
    folder = shutil.copytree(smoke[0], tmp_path / "broken")
    archive = folder / "results/smoke/systems/real/val.parquet"
    table = pd.read_parquet(archive)
    table.at[3, "image"] = {"bytes": b"no picture", "path": None}
    table.to_parquet(archive)
    (folder / "results/smoke/seals/systems/real/val.parquet.sha256").unlink()  # or the seal would speak first
    target = "results/smoke/features/fid.imagenet-lite@1/real/val/blur0.safetensors"
    ran = call(folder, target, *SMOKE)
    assert ran.returncode != 0
    assert "systems/real/val.parquet, row 3: the picture cannot be read" in ran.stdout + ran.stderr
    assert "Traceback" in (folder / "results/smoke/logs/features/fid.imagenet-lite@1-blur0.log").read_text(
        encoding="utf-8"
    )
    assert not (folder / target).exists()
    hidden = [path for path in folder.glob("results/smoke/**/.*") if path.is_file()]
    assert [path.name for path in hidden if not path.name.startswith(".snakemake")] == []


def test_an_interrupted_training_goes_on_and_ends_with_the_same_bits(smoke: tuple[Path, str], tmp_path: Path) -> None:
    longer = (*SMOKE, "--config", "prior={optimisation: {steps: 500, checkpoint_every: 10}}")
    weights = "results/smoke/prior/weights.safetensors"
    whole = shutil.copytree(smoke[0], tmp_path / "whole")
    snakemake(whole, weights, *longer)

    folder = shutil.copytree(smoke[0], tmp_path / "interrupted")
    checkpoints = folder / "results/smoke/prior"
    running = subprocess.Popen(
        command(weights, *longer), cwd=folder, env=environment(), start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not list(checkpoints.glob("checkpoint-*.pt")):
        assert running.poll() is None, "the training ended before its first checkpoint was seen"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    running.wait()
    assert list(checkpoints.glob("checkpoint-*.pt"))
    assert not (folder / weights).exists()

    snakemake(folder, weights, *longer)
    assert not list(checkpoints.glob("checkpoint-*.pt"))
    assert file_digest(folder / weights) == file_digest(whole / weights)

"""The README is true: its snippet runs, and its commands, files and folders are there."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dalle.provenance import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
QUOTED = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
LANDS = README.partition("## What lands where")[2].partition("\n## ")[0]
PLACES = re.findall(r"^\| (`.+?) \|", LANDS, flags=re.MULTILINE)  # first column
OWN = {"mine.yaml"}  # the reader writes it
FILE = r"(?<![\w/.{*-])[\w./-]+\.(?:py|yaml|yml|md|toml|lock)\b"


def test_there_is_something_to_be_true():
    assert len(SNIPPETS) == 1
    assert len(COMMANDS) >= 2
    assert len(PLACES) >= 8


def test_every_make_target_exists():
    targets = set(re.findall(r"\bmake ([\w-]+)", "\n".join(COMMANDS + QUOTED)))
    assert targets >= {"run", "test"}
    assert targets <= set(
        re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(FILE, README)) - OWN))
def test_every_file_exists(name):
    assert (ROOT / name).is_file()


def test_every_experiment_has_the_name_that_its_results_have_in_the_readme():
    known = {yaml.safe_load(path.read_text(encoding="utf-8"))["experiment"] for path in ROOT.glob("workflow/config/*")}
    assert set(re.findall(r"results/([\w-]+)", README)) <= known | {"feature-store"}


def test_the_snippet_prints_a_table_of_the_metrics(smoke, capsys):
    assert SNIPPETS[0].count("results/scenes/") == 1
    exec(SNIPPETS[0].replace("results/scenes/", f"{smoke[0]}/results/smoke/"), {})
    printed = capsys.readouterr().out
    for word in ("dalle1", "real", "dvae", "dvae_start", "shuffled", "fid", "inception_score", "grounded"):
        assert re.search(rf"\b{word}\b", printed), f"{word} is not in\n{printed}"


@pytest.mark.parametrize("place", [place for row in PLACES for place in re.findall("`(.+?)`", row)])
def test_everything_lands_where_the_readme_says(smoke, place):
    pattern = re.sub(r"{\w+}", "*", place.rstrip("/"))
    found = list((smoke[0] / "results/smoke").rglob(pattern))
    assert found
    assert all(path.is_dir() for path in found) == place.endswith("/")


def test_systems_and_suites_are_those_the_readme_explains(smoke):
    paragraph = re.search(r"^Systems: (.+?)Suites: (.+?)\n\n", README, flags=re.MULTILINE | re.DOTALL)
    metrics = pd.read_parquet(smoke[0] / "results/smoke/tables/metrics.parquet")
    for told, column in zip(paragraph.groups(), ("system", "suite"), strict=True):
        assert set(re.findall("`(.+?)`", told)) == set(metrics[column])


def test_the_mlflow_files_are_where_the_readme_says(smoke: tuple[Path, str]):
    for name in ("mlflow.db", "mlruns", "results/smoke/mlflow.json"):
        assert f"`{name.replace('smoke', '{experiment}')}`" in README
        assert (smoke[0] / name).exists()

"""The whole workflow over photographs of birds, cut down to minutes: it runs, it learns, it says only what it knows."""

import json
import re
from collections.abc import Iterator
from math import log
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import call, copy_project, snakemake

from dalle.provenance import ROOT

SHARED = ROOT.parent / "shared" / "data"
SMALL = {
    "experiment": "birds",
    "data": {"views": 3, "dvae_views": 1, "prompts": 24},
    "dvae": {"codes": 64, "width": 16, "blocks": 1, "optimisation": {"steps": 60, "batch_size": 16}},
    "prior": {"width": 32, "optimisation": {"steps": 60, "batch_size": 16, "warmup": 5}},
    "clip": {
        "width": 32,
        "depth": 1,
        "text_depth": 1,
        "stem": 4,
        "embed_dim": 32,
        "optimisation": {"steps": 5, "batch_size": 16, "warmup": 1},
    },
    "sampling": {"n_candidates": [1, 2, 4], "block": 4},
    "evaluation": {"blur": [0, 4], "replicates": 50},
    "human": {"pairs": 8},
}


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the project in which cub-mini has run, cut down; and the folder of its results."""
    if not SHARED.exists():
        pytest.skip("the small CUB is not here")
    folder = copy_project(tmp_path_factory.mktemp("birds"))
    settings = yaml.safe_load((ROOT / "workflow/config/cub-mini.yaml").read_text(encoding="utf-8"))
    data = settings["data"] | SMALL["data"] | {"folder": str(SHARED / "cub")}
    text = yaml.safe_dump(settings | SMALL | {"data": data}, allow_unicode=True)
    (folder / "birds.yaml").write_text(text, encoding="utf-8")
    snakemake(folder, "--configfile", "birds.yaml")
    return folder, folder / "results" / "birds"


def test_afterwards_nothing_is_to_be_done(birds: tuple[Path, Path]) -> None:
    assert "Nothing to be done" in snakemake(birds[0], "--configfile", "birds.yaml", "--dry-run")


def test_losses_fall_on_photographs_that_training_has_not_seen(birds: tuple[Path, Path]) -> None:
    """Below what guessing costs, and the trained dVAE above the untrained one."""
    model = json.loads((birds[1] / "prior/model.json").read_text())
    assert model["validation"]["pairs"] == 275 * 3 // 20
    assert model["validation"]["image_nats"] < log(model["shape"]["codes"])
    assert model["validation"]["text_nats"] < log(model["shape"]["text_vocab"] + 1)
    psnr = pd.read_parquet(birds[1] / "tables/metrics.parquet").query("metric == 'psnr'").set_index("system")["value"]
    assert psnr["dvae"] > psnr["dvae_start"]


def test_the_data_report_has_the_numbers_of_the_sources(birds: tuple[Path, Path]) -> None:
    table = pd.read_parquet(birds[1] / "tables/data.parquet").set_index(["section", "item"])
    for split, captioned in (("train", 275), ("test", 268)):
        row = table.loc[("delivered", f"{split}, with captions"), ["captions", "pictures"]]
        assert row.tolist() == [10 * captioned, captioned]
    assert table.loc["delivered"].loc[["train", "test"], "pictures"].sum() == 2889
    csv = pd.read_csv(birds[1] / "tables/data.csv")
    assert csv["item"].tolist() == table.index.get_level_values("item").tolist()


def test_what_nobody_can_know_of_photographs_is_not_in_the_tables(birds: tuple[Path, Path]) -> None:
    table = pd.read_parquet(birds[1] / "tables/metrics.parquet")
    metrics = {system: set(rows["metric"]) for system, rows in table.groupby("system")}
    assert not any("grounded" in name for names in metrics.values() for name in names)
    assert not (birds[1] / "tables/reader.json").exists()
    assert set(table["suite"]) == {"val"}
    # Other photographs say nothing about these captions; the captions' own are the reference itself.
    assert {"fid", "inception_score"} <= metrics["real"] and "clip_cos" not in metrics["real"]
    assert "clip_cos" in metrics["original"] and "fid" not in metrics["original"]
    assert {"fid", "clip_cos"} <= metrics["dalle1"] & metrics["shuffled"]
    assert set(table.query("metric == 'fid'")["n_reference"]) == {134}
    assert table[["value", "low", "high"]].notna().all(axis=None)


def test_the_headline_says_what_a_model_says_where_nothing_is_graded(birds: tuple[Path, Path]) -> None:
    headline = (birds[1] / "headline.txt").read_text(encoding="utf-8")
    assert "CLIP cosine" in headline and "right %" not in headline
    assert re.search(r"near-duplicate in training: val 0\.0 %", headline)
    assert "The right picture among 27" in headline


def test_every_figure_is_there_and_checks_for_people_are_photographs_of_the_captions(birds: tuple[Path, Path]) -> None:
    assert {path.stem for path in (birds[1] / "figures").glob("*.png")} >= set(figures())
    key = pd.read_csv(birds[1] / "human/dalle1-dvae/key.csv")
    checks = key[key["kind"] == "gold"]
    assert {frozenset(two) for two in checks[["left_system", "right_system"]].to_numpy()} == {
        frozenset({"original", "shuffled"})
    }


def figures() -> Iterator[str]:
    yield from ("figure9", "candidates", "training", "reconstructions", "samples_val", "data", "overlap")


@pytest.mark.parametrize(("name", "what"), [("coco", "annotations/"), ("cub", "images.txt")])
def test_without_the_pictures_the_run_ends_and_says_how_to_get_them(tmp_path: Path, name: str, what: str) -> None:
    ran = call(copy_project(tmp_path), "--configfile", f"workflow/config/{name}.yaml")
    assert ran.returncode != 0
    said = f"ValueError: data.folder: data/{name} is not there; needed is a folder with {what}"
    assert said in ran.stdout + ran.stderr
    assert "docs/data.md says where to get them" in ran.stdout + ran.stderr

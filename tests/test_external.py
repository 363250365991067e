"""Another program's pictures become a system: its winners, under our captions, with their sizes and kinds."""

import os
import re
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import call, copy_project, snakemake
from PIL import Image

from dalle.config.reading import load_config
from dalle.config.systems import External
from dalle.images import iter_archive, read_rows, write_archive
from dalle.listing import listing_digest
from dalle.rerank import best_of
from dalle.systems.external import write_external

CAPTIONS = ["a ring", "a cat", "two dogs"]
IDS = [4, 0, 2]


def picture(prompt_id: int, candidate: int) -> np.ndarray:
    return np.full((3 + prompt_id, 2 + candidate, 3), 40 * prompt_id + candidate, np.uint8)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    rows = pd.DataFrame({"prompt_id": IDS, "candidate": 0, "caption": CAPTIONS, "scene": ["{4}", "{0}", "{2}"]})
    write_archive(tmp_path / "val.parquet", rows, [picture(0, 0)] * 3)
    return tmp_path / "val.parquet"


def given(folder: Path, num_candidates: int, scores: np.ndarray | None = None) -> External:
    """Pictures of every prompt and candidate in a folder, the manifest's rows in an order of their own."""
    rows = [(prompt, candidate) for candidate in reversed(range(num_candidates)) for prompt in sorted(IDS)]
    (folder / "pictures").mkdir()
    for prompt, candidate in rows:
        Image.fromarray(picture(prompt, candidate)).save(folder / f"pictures/{prompt}-{candidate}.png")
    table = pd.DataFrame(rows, columns=["prompt_id", "candidate"])
    table["file"] = [f"{prompt}-{candidate}.png" for prompt, candidate in rows]
    if scores is not None:
        table["score"] = [scores[IDS.index(prompt), candidate] for prompt, candidate in rows]
    table.to_csv(folder / "manifest.csv", index=False)
    return External(path=str(folder / "pictures"), manifest=str(folder / "manifest.csv"))


def written(settings: External, prompts: Path) -> tuple[pd.DataFrame, list[np.ndarray], pd.DataFrame]:
    out, selection = (prompts.with_name("out") / name for name in ("val.parquet", "val.selection.parquet"))
    write_external(settings, prompts, out, selection)
    tables, pictures = zip(*iter_archive(out, 2), strict=True)
    return pd.concat(tables, ignore_index=True), [*chain(*pictures)], pd.read_parquet(selection)


def test_one_picture_a_prompt_is_the_only_choice(tmp_path, prompts):
    rows, pictures, selection = written(given(tmp_path, 1), prompts)
    assert rows[["prompt_id", "caption", "scene"]].equals(read_rows(prompts)[["prompt_id", "caption", "scene"]])
    assert rows["lossy"].tolist() == [False] * 3
    assert all(map(np.array_equal, pictures, [picture(prompt, 0) for prompt in IDS]))
    expected = {"prompt_id": IDS, "n_candidates": [1] * 3, "candidate": [0] * 3}
    assert selection.to_dict("list") == expected


@pytest.mark.parametrize("num_candidates", [2, 5, 8])
def test_the_best_of_the_first_n_is_that_of_the_reranker(tmp_path, prompts, num_candidates):
    scores = np.random.default_rng(num_candidates).integers(0, 3, (3, num_candidates)).astype(float)  # with ties
    rows, pictures, selection = written(given(tmp_path, num_candidates, scores), prompts)
    expected = [
        (prompt, n, best_of(scores[position], n))
        for position, prompt in enumerate(IDS)
        for n in (1, 2, 4, 8)
        if n <= num_candidates
    ]
    assert list(selection.itertuples(index=False, name=None)) == expected
    kept = list(rows[["prompt_id", "candidate"]].itertuples(index=False, name=None))
    assert kept == [
        (prompt, number) for prompt in IDS for number in sorted({best for p, _, best in expected if p == prompt})
    ]
    assert all(map(np.array_equal, pictures, [picture(*key) for key in kept]))


def test_several_candidates_need_scores(tmp_path, prompts):
    with pytest.raises(ValueError, match=r"pictures: 2 candidates a prompt and no column score to choose by; allowed"):
        written(given(tmp_path, 2), prompts)
    assert not (tmp_path / "out").exists()


def test_lossy_files_are_marked(tmp_path, prompts):
    settings = given(tmp_path, 1)
    Image.fromarray(picture(0, 0)).save(tmp_path / "pictures/0-0.png", "JPEG")
    assert written(settings, prompts)[0]["lossy"].tolist() == [False, True, False]


def test_a_broken_picture_and_a_missing_one_leave_no_system(tmp_path, prompts):
    settings = given(tmp_path, 1)
    (tmp_path / "pictures/2-0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pictures: 2-0\.png: the picture cannot be read"):
        written(settings, prompts)
    (tmp_path / "pictures/2-0.png").unlink()
    with pytest.raises(ValueError, match=r"pictures: missing pictures: 1 \(2-0\.png\)"):
        written(settings, prompts)
    assert list((tmp_path / "out").glob("*")) == []


def test_parquet_files_and_data_sets_are_systems_too(tmp_path, prompts, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    rows = pd.DataFrame({"prompt_id": IDS, "candidate": 0, "caption": CAPTIONS, "scene": "not ours"})
    write_archive(tmp_path / "set/test.parquet", rows, [picture(prompt, 0) for prompt in IDS])
    as_file = written(External(path=str(tmp_path / "set/test.parquet")), prompts)
    as_set = written(External(hub=str(tmp_path / "set"), split="test"), prompts)
    folder = written(given(tmp_path, 1), prompts)
    for table, pictures, selection in (as_file, as_set):
        assert table.equals(folder[0])
        assert all(map(np.array_equal, pictures, folder[1]))
        assert selection.equals(folder[2])


def mistake(systems: object) -> str:
    with pytest.raises(ValueError) as raised:
        load_config({"experiment": "mine", "systems": systems})
    return str(raised.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "path and hub: given are None and None; needed is one of them"),
        ({"path": "a.parquet", "hub": "b", "split": "test"}, "path and hub: given are 'a.parquet' and 'b'; needed"),
        ({"path": "folder"}, "manifest: given is None; a folder needs one"),
        ({"path": "a.parquet", "manifest": "m.csv"}, "manifest: given is 'm.csv'; a folder needs one, nothing else"),
        ({"hub": "b"}, "split: given is None; a hub data set needs one"),
        ({"path": "a.parquet", "split": "test"}, "split: given is 'test'; a hub data set needs one, nothing else"),
        ({"path": "a.parquet", "suite": "train"}, ".suite: Input should be 'val' or 'zeroshot', given 'train'"),
        ({"pth": "a.parquet"}, ".pth is unknown; did you mean path? (allowed: kind, path, manifest,"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, says):
    assert re.match(rf"config key systems\.mine:? ?{re.escape(says)}", mistake({"mine": settings}))


@pytest.mark.parametrize(
    "name", ["dalle1", "real", "dvae", "dvae_start", "shuffled", "reference", "Mine", "a-b", "_a", ""]
)
def test_names_that_are_taken_or_odd_are_refused(name):
    said = mistake({name: {"path": "a.parquet"}})
    assert said.startswith(
        f"config key systems: {name!r} is no free name; allowed are a-z, 0-9 and _, and none of ['dalle1'"
    )


def test_names_that_are_free_are_taken():
    systems = {"a": {"path": "a.parquet"}, "2_b": {"path": "folder", "manifest": "m.csv", "suite": "zeroshot"}}
    assert list(load_config({"experiment": "mine", "systems": systems}).systems) == ["a", "2_b"]


def test_a_listing_changes_with_every_file_and_with_nothing_else(tmp_path):
    for name in ("a/b.png", "a/c/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    seen = [listing_digest(tmp_path / "a")]
    assert listing_digest(tmp_path / "copy") == seen[0]
    (tmp_path / "a/c/d.png").write_bytes(b"22")
    seen.append(listing_digest(tmp_path / "a"))
    (tmp_path / "a/c/d.png").rename(tmp_path / "a/c/e.png")
    seen.append(listing_digest(tmp_path / "a"))
    (tmp_path / "a/new.png").touch()
    seen.append(listing_digest(tmp_path / "a"))
    os.utime(tmp_path / "a/new.png", (1, 1))
    seen.append(listing_digest(tmp_path / "a"))
    assert len(set(seen)) == 5


SNAKEFILE = """
configfile: "config.yaml"
include: "workflow/rules/common.smk"
pathvars: results="results"
wildcard_constraints: suite="|".join(SUITES)
include: "workflow/rules/external.smk"
"""
PICTURES, SELECTION = (f"results/systems/mine/val.{name}parquet" for name in ("", "selection."))


@pytest.fixture
def project(tmp_path: Path, prompts: Path) -> Path:
    """A copy of the project with this one rule, prompts and pictures."""
    project = copy_project(tmp_path / "project")
    (project / "Snakefile").write_text(SNAKEFILE)
    (project / "results/data").mkdir(parents=True)
    shutil.copy(prompts, project / "results/data/val.parquet")
    given(project, 1)
    (project / "config.yaml").write_text(
        "experiment: mine\nsystems: {mine: {path: pictures, manifest: manifest.csv}, other: {path: other.parquet}}"
    )
    return project


def test_the_rule_makes_the_system_and_watches_the_folder(project):
    def plans() -> bool:
        return "rule external" in snakemake(project, "--dry-run", PICTURES, SELECTION)

    snakemake(project, PICTURES, SELECTION)
    assert len(pd.read_parquet(project / SELECTION)) == 3
    assert not plans()
    (project / "pictures/0-0.png").write_bytes((project / "pictures/2-0.png").read_bytes())
    assert plans()
    snakemake(project, "--touch", PICTURES, SELECTION)
    (project / "pictures/leftover.png").write_bytes(b"")
    assert plans()


def test_a_system_exists_for_its_suite_alone(project):
    ran = call(project, "--dry-run", "results/systems/mine/zeroshot.parquet")
    assert "MissingRuleException" in ran.stdout + ran.stderr
    ran = call(project, "--dry-run", "results/systems/other/val.parquet")
    assert "other.parquet" in ran.stdout + ran.stderr  # the input that is missing

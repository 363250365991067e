"""The table of graded pictures: every archive and every candidate has its rows, and they say what the reader says."""

import json
from math import log10

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from dalle.config.data import Scenes
from dalle.config.models import DVAE
from dalle.data.archives import SUITES, write_scenes
from dalle.data.scenes import Scene
from dalle.images import read_archive, to_float, write_archive
from dalle.models.dvae import decode_codes, encode_pictures, load_dvae
from dalle.systems.oracle import write_reconstructions, write_shuffled
from dalle.training.dvae import start_dvae
from eval.grounding import COLUMNS, write_image_scores
from eval.metrics.grounded import PARTS, fix_threshold, grade, read

SETTINGS = DVAE(codes=96, width=8, blocks=1)
GRADES = {*PARTS, "grounded", "fit"}
NUM = {"val": 6, "zeroshot": 4}
AGREEMENT = pd.DataFrame([("real", "val", "clip.own@1", 3, 0, "clip_cos", 0.25, "feed")], columns=COLUMNS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The files of a tiny experiment: data, a dVAE, three candidates a caption in two shards, scores, systems."""
    root = tmp_path_factory.mktemp("run")
    write_scenes(Scenes(train=4, uncaptioned=4, **NUM), 0, root / "data")
    pixels = np.concatenate([read_archive(root / f"data/{suite}_real.parquet")[1] for suite in SUITES])
    write_dvae(root / "dvae", start_dvae(torch.from_numpy(pixels).permute(0, 3, 1, 2), SETTINGS, 0))
    for suite in SUITES:
        write_candidates(root, suite)
        write_systems(root, suite)
    AGREEMENT.to_parquet(root / "agreement.parquet")
    return root


def write_dvae(folder, model):
    folder.mkdir()
    for name in ("weights", "start"):
        save_file(model.state_dict(), folder / f"{name}.safetensors")
    (folder / "model.json").write_text(SETTINGS.model_dump_json())


def write_candidates(root, suite):
    """Codes of the suite's other real pictures, rolled by the candidate's number: right ones and wrong ones."""
    codes = encode_pictures(load_dvae(root / "dvae"), read_archive(root / f"data/{suite}_real.parquet")[1])
    for shard in (0, 1):
        names = [(prompt, candidate) for prompt in range(shard, NUM[suite], 2) for candidate in range(3)]
        table = pd.DataFrame(names, columns=["prompt_id", "candidate"])
        rows = [np.roll(codes, candidate, axis=0)[prompt].ravel() for prompt, candidate in names]
        for kind, columns in (
            ("candidates", {"codes": rows}),
            ("scores", {"score": table.prompt_id + table.candidate / 8}),
        ):
            path = root / kind / suite / str(shard) / "0.parquet"
            path.parent.mkdir(parents=True)
            table.assign(**columns).to_parquet(path)


def write_systems(root, suite):
    reference, real = root / f"data/{suite}.parquet", read_archive(root / f"data/{suite}_real.parquet")
    place = {name: root / f"systems/{name}/{suite}.parquet" for name in ("real", "dvae", "dalle1", "shuffled")}
    selections = {name: path.with_suffix(".selection.parquet") for name, path in place.items()}
    for name in ("real", "dalle1"):  # the pictures of dalle1 are graded as candidates, not here
        write_archive(place[name], *real)
    write_reconstructions(reference, root / "dvae", "weights", place["dvae"], selections["dvae"])
    write_shuffled(place["real"], selections["dvae"], place["shuffled"], selections["shuffled"], 0)


def files(root, pattern):
    return sorted(path for path in root.glob(pattern) if "selection" not in path.name)


def write_table(root, out, **changes):
    given = {
        "references": [root / f"data/{suite}.parquet" for suite in SUITES],
        "pictures": files(root, "systems/*/*.parquet"),
        "candidates": files(root, "candidates/*/*/*.parquet"),
        "scores": files(root, "scores/*/*/*.parquet"),
        "agreement": root / "agreement.parquet",
        "dvae_folder": root / "dvae",
        "reranker": "own",
        "out": out / "image_scores.parquet",
    }
    write_image_scores(**given | changes)
    return pd.read_parquet(out / "image_scores.parquet")


@pytest.fixture(scope="module")
def table(run):
    return write_table(run, run / "tables")


def threshold(run):
    return json.loads((run / "tables/reader.json").read_text())["threshold"]


def expected(rows, pixels, run):
    """The reader's grades by (prompt_id, candidate, metric)."""
    found = {}
    for row, picture in zip(rows.itertuples(), pixels, strict=True):
        reading = read(picture)
        grades = grade(reading, Scene.from_json(row.scene), threshold(run)) | {"fit": reading.fit}
        found |= {(row.prompt_id, row.candidate, metric): float(value) for metric, value in grades.items()}
    return found


def values(table, system, suite, metrics=GRADES):
    rows = table[(table["system"] == system) & (table["suite"] == suite) & table["metric"].isin(metrics)]
    return rows.set_index(["prompt_id", "candidate", "metric"])["value"].to_dict()


def test_every_picture_has_one_row_a_metric(table):
    assert list(table.columns) == COLUMNS
    assert not table.duplicated([name for name in COLUMNS if name != "value"]).any()
    assert not table.isna().any(axis=None)
    protocols = table.groupby("metric")["protocol"].unique()
    assert [list(protocols[name]) for name in ("grounded", "psnr", "rerank_score", "clip_cos")] == [
        ["grounded.scenes@1"],
        ["psnr.rgb@1"],
        ["clip.own@1"],
        ["clip.own@1"],
    ]
    graded = table[table["metric"] != "clip_cos"]
    for (system, suite), rows in graded.groupby(["system", "suite"]):
        further = {"dalle1": {"rerank_score"}, "dvae": {"psnr"}}.get(system, set())
        assert set(rows["metric"]) == GRADES | further
        assert len(rows) == NUM[suite] * len(GRADES | further) * (3 if system == "dalle1" else 1)
    assert set(table["system"]) == {"real", "dvae", "shuffled", "dalle1"}


def test_csv_says_the_same(table, run):
    csv = pd.read_csv(run / "tables/image_scores.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(csv, table, check_dtype=False)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("system", ["real", "dvae", "shuffled"])
def test_archives_are_graded_by_the_reader(table, run, system, suite):
    archive = read_archive(run / f"systems/{system}/{suite}.parquet")
    assert values(table, system, suite) == expected(*archive, run)


@pytest.mark.parametrize("suite", SUITES)
def test_all_candidates_are_decoded_and_graded_under_their_own_captions(table, run, suite):
    drawn = pd.concat(map(pd.read_parquet, files(run, f"candidates/{suite}/*/*.parquet")), ignore_index=True)
    scenes = read_archive(run / f"data/{suite}.parquet")[0].set_index("prompt_id")["scene"]
    pixels = decode_codes(load_dvae(run / "dvae"), np.stack(drawn["codes"]))
    grades = expected(drawn.assign(scene=drawn["prompt_id"].map(scenes)), pixels, run)
    assert values(table, "dalle1", suite) == grades
    assert len({value for key, value in grades.items() if key[2] == "background"}) == 2  # right and wrong


def test_candidates_have_the_rerankers_score(table):
    for suite in SUITES:
        scores = values(table, "dalle1", suite, {"rerank_score"})
        assert len(scores) == 3 * NUM[suite]
        assert all(value == prompt + candidate / 8 for (prompt, candidate, _), value in scores.items())


def test_psnr_is_measured_against_the_reference_of_the_suite(table, run):
    for suite in SUITES:
        (_, truth), (_, seen) = (read_archive(run / f"{place}/{suite}.parquet") for place in ("data", "systems/dvae"))
        for (prompt, _, _), value in values(table, "dvae", suite, {"psnr"}).items():
            error = (
                (to_float(truth[prompt : prompt + 1]).double() - to_float(seen[prompt : prompt + 1])).square().mean()
            )
            assert value == pytest.approx(-10 * log10(error.item()))


def test_the_reader_is_fixed_on_the_references_and_judged_on_other_real_pictures(table, run):
    references = [read_archive(run / f"data/{suite}.parquet") for suite in SUITES]
    readings = [read(picture) for _, pixels in references for picture in pixels]
    truths = [Scene.from_json(text) for rows, _ in references for text in rows["scene"]]
    right = [values(table, "real", suite, {"grounded"}).values() for suite in SUITES]
    report = json.loads((run / "tables/reader.json").read_text())
    assert report["threshold"] == fix_threshold(readings, truths)
    assert report["accuracy"] == np.mean([value for suite in right for value in suite])
    assert report["n"] == 10


def test_rows_of_the_agreement_are_taken_as_they_are(table):
    row = table[table["metric"] == "clip_cos"]
    assert row[COLUMNS].to_numpy().tolist() == AGREEMENT.to_numpy().tolist()


def test_pictures_of_another_size_are_not_graded_and_the_log_says_so(run, tmp_path, caplog):
    rows, pixels = read_archive(run / "systems/real/val.parquet")
    stranger = tmp_path / "stranger" / "val.parquet"
    stranger.parent.mkdir()
    write_archive(stranger, rows, pixels.repeat(2, axis=1).repeat(2, axis=2))
    table = write_table(run, tmp_path / "tables", pictures=[*files(run, "systems/*/*.parquet"), stranger])
    assert "stranger" not in set(table["system"])
    assert "stranger/val.parquet: pictures of [(128, 128, 3)], the world's are (64, 64, 3): not graded" in caplog.text


def test_the_order_of_the_files_does_not_count(table, run, tmp_path):
    turned = {
        "pictures": files(run, "systems/*/*.parquet")[::-1],
        "candidates": files(run, "candidates/*/*/*.parquet")[::-1],
        "references": [run / f"data/{suite}.parquet" for suite in SUITES[::-1]],
    }
    assert write_table(run, tmp_path, **turned).equals(table)


def test_references_that_are_not_what_they_say_leave_no_table(run, tmp_path):
    rows, pixels = read_archive(run / "data/val.parquet")
    write_archive(tmp_path / "val.parquet", rows, np.roll(pixels, 1, axis=0))
    references = [tmp_path / "val.parquet", run / "data/zeroshot.parquet"]
    with pytest.raises(ValueError, match=r"the reader is right on \d+ of 10 real pictures"):
        write_table(run, tmp_path / "tables", references=references)
    assert not (tmp_path / "tables").exists()


def test_of_photographs_nothing_is_graded(run, tmp_path):
    """What needs no scene stays: distances between pictures, scores of the reranker, agreement with the caption."""
    for suite in SUITES:
        rows, pixels = read_archive(run / f"data/{suite}.parquet")
        write_archive(tmp_path / f"data/{suite}.parquet", rows.assign(scene=""), pixels)
    references = [tmp_path / f"data/{suite}.parquet" for suite in SUITES]
    table = write_table(run, tmp_path, references=references, candidates=[], reranker="ViT-B-32")
    assert set(table["metric"]) == {"psnr", "rerank_score", "clip_cos"}
    assert not (tmp_path / "reader.json").exists()
    scored = table[table["metric"] == "rerank_score"]
    assert set(scored["protocol"]) == {"rerank.ViT-B-32"}  # clip.own@1 is the model trained here


def test_the_log_says_how_many_candidates_are_right(run, tmp_path, capsys):
    table = write_table(run, tmp_path)
    grades = table.query("system == 'dalle1' and metric == 'grounded'")["value"]
    said = f"image_scores: {100 * grades.mean():.1f} % of our {len(grades):,} candidates are right\n"
    assert len(grades) and capsys.readouterr().out.endswith(said)

"""The metrics table, from features and grades that are made up so that the right answer is known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from dalle.provenance import ROOT
from eval.features import FeatureSet, save_features
from eval.protocols.protocol import read_protocol
from eval.stats import wilson
from eval.sweep import COLUMNS, write_metrics
from eval.tables import read_table, write_table

PROTOCOL = ROOT / "eval" / "protocols" / "dalle1-offline.yaml"
DIGEST = read_protocol(PROTOCOL).extractor_digest
PROMPTS, DIM, CLASSES, DRAWN, RADII = 12, 6, 5, 4, (0, 2)
WINNERS = {1: [0] * PROMPTS, 2: [0, 1] * 6, 4: [0, 3] * 6}  # the candidate shown for each prompt, by N


def keys(candidates):
    """All pairs of prompt and candidate, in an order that is not the prompts'."""
    pairs = [(prompt, candidate) for candidate in candidates for prompt in reversed(range(PROMPTS))]
    return np.array(pairs, dtype=np.int64).T


def made_up(seed, candidates):
    rng = np.random.default_rng(seed)
    prompt_id, candidate = keys(candidates)
    sizes = [(len(prompt_id), DIM), (len(prompt_id), CLASSES)]
    return FeatureSet(prompt_id, candidate, *(rng.normal(size=size).astype(np.float32) for size in sizes), DIGEST)


def selection(winners):
    rows = [(prompt, n, winner) for n in winners for prompt, winner in enumerate(winners[n])]
    return pd.DataFrame(rows, columns=["prompt_id", "n_candidates", "candidate"]).sample(frac=1, random_state=0)


def scores(system, metric, values):
    """``values``: a number for each (prompt, candidate)."""
    rows = [(system, "val", *key, metric, float(value)) for key, value in values.items()]
    return pd.DataFrame(rows, columns=["system", "suite", "prompt_id", "candidate", "metric", "value"])


def right_ones():
    """Candidate 0 is right for a third of the prompts, candidate 3 for two thirds, the others never."""
    return {
        (prompt, candidate): {0: prompt % 3 == 0, 3: prompt % 3 != 0}.get(candidate, False)
        for prompt, candidate in itertools.product(range(PROMPTS), range(DRAWN))
    }


@pytest.fixture
def results(tmp_path):
    """The paths of a small experiment: dalle1, shuffled, real and dvae on the suite val."""
    for seed, (source, candidates) in enumerate({"reference": [0], "dalle1": [0, 1, 3], "real": [0]}.items()):
        for radius in RADII:
            found = made_up(seed + 10 * radius, candidates)
            save_features(found, tmp_path / "features" / source / "val" / f"blur{radius}.safetensors")
    for radius in RADII:  # perfect reconstructions: the features of the reference
        save_features(made_up(10 * radius, [0]), tmp_path / "features/dvae/val" / f"blur{radius}.safetensors")
    chosen = {"dalle1": WINNERS, "shuffled": WINNERS, "real": {1: [0] * PROMPTS}, "dvae": {1: [0] * PROMPTS}}
    for system, winners in chosen.items():
        write_table(selection(winners), tmp_path / "systems" / system / "val.selection.parquet")
    graded = [
        scores("dalle1", "grounded", right_ones()),
        scores("dalle1", "relation", dict.fromkeys(right_ones(), 1)),
        scores("shuffled", "grounded", {(p, c): False for p in range(PROMPTS) for c in (0, 1, 3)}),
        scores("real", "grounded", {(prompt, 0): True for prompt in range(PROMPTS)}),
        scores("dvae", "psnr", {(prompt, 0): 20 + prompt for prompt in range(PROMPTS)}),
    ]
    write_table(pd.concat(graded).sample(frac=1, random_state=1), tmp_path / "tables" / "image_scores.parquet")
    return tmp_path


def run(results, out="metrics.parquet"):
    """The metrics table of ``results``, indexed by what a row is about."""
    features = sorted(results.glob("features/*/*/*.safetensors"))
    selections = sorted(results.glob("systems/*/*.selection.parquet"))
    image_scores = results / "tables" / "image_scores.parquet"
    write_metrics(features, selections, image_scores, PROTOCOL, results / "tables" / out, "toy", seed=7, splits=3)
    return read_table(results / "tables" / out)


def lookup(table, *columns):
    return table.set_index(["system", "metric", "n_candidates", "blur"])[list(columns)].squeeze(axis=1)


def test_columns_types_and_constants(results):
    table = run(results)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    assert list(table.columns) == list(COLUMNS)
    assert table[["experiment", "suite", "protocol", "seed", "n"]].drop_duplicates().values.tolist() == [
        ["toy", "val", "dalle1-offline@1", 7, PROMPTS]
    ]


def test_there_is_a_row_for_every_system_n_radius_and_metric_that_applies(results):
    candidates = {"dalle1": (1, 2, 4), "shuffled": (1, 2, 4), "real": (1,), "dvae": (1,)}
    sets = {
        (system, metric, n, float(radius))
        for system, metric, radius in itertools.product(candidates, ("fid", "inception_score"), RADII)
        for n in candidates[system]
    }
    graded = {(system, "grounded", n, 0.0) for system in ("dalle1", "shuffled", "real") for n in candidates[system]}
    drawn = {("dalle1", "grounded_any", n, 0.0) for n in (1, 2, 4)}
    table = run(results)
    there = lookup(table, "value").index
    assert there.is_unique
    assert set(there) == sets | graded | drawn | {("dvae", "psnr", 1, 0.0)}
    assert table.equals(table.sort_values(["system", "suite", "metric", "n_candidates", "blur"], ignore_index=True))


def test_both_sides_of_a_fid_have_the_same_blur(results):
    """dvae holds the features of the reference at each radius, and no other's."""
    value = lookup(run(results), "value")
    for radius in RADII:
        assert value["dvae", "fid", 1, radius] == pytest.approx(0, abs=1e-9)
        assert value["real", "fid", 1, radius] > 0.1


def test_an_n_is_judged_by_its_own_pictures(results):
    """With the reference's features put under the winners of N = 4, FID is 0 there and nowhere else."""
    reference, drawn = made_up(0, [0]), made_up(1, [0, 1, 3])
    winner = np.array([WINNERS[4][prompt] for prompt in drawn.prompt_id]) == drawn.candidate
    drawn.features[winner] = reference.features[np.argsort(reference.prompt_id)][drawn.prompt_id[winner]]
    save_features(drawn, results / "features" / "dalle1" / "val" / "blur0.safetensors")
    value = lookup(run(results), "value")
    assert value["dalle1", "fid", 4, 0] == pytest.approx(0, abs=1e-9)
    assert min(value["dalle1", "fid", n, 0] for n in (1, 2)) > 0.1


def test_shuffled_shows_the_pictures_of_dalle1_and_has_grades_of_its_own(results):
    value = lookup(run(results), "value")
    for metric, n, radius in itertools.product(("fid", "inception_score"), (1, 2, 4), RADII):
        assert value["shuffled", metric, n, radius] == value["dalle1", metric, n, radius]
    assert value["shuffled", "grounded", 4, 0] == 0 < value["dalle1", "grounded", 4, 0]


def test_shares_have_wilsons_interval_and_count_what_was_chosen(results):
    found = lookup(run(results), "value", "low", "high")
    right = {n: sum(right_ones()[prompt, winner] for prompt, winner in enumerate(WINNERS[n])) for n in WINNERS}
    for n, num in right.items():
        assert found.loc["dalle1", "grounded", n, 0].tolist() == pytest.approx([num / PROMPTS, *wilson(num, PROMPTS)])
    assert found.loc["real", "grounded", 1, 0].tolist() == pytest.approx([1, *wilson(PROMPTS, PROMPTS)])


def test_any_of_n_counts_prompts_with_a_right_candidate_among_the_first_n(results):
    value = lookup(run(results), "value")
    assert [value["dalle1", "grounded_any", n, 0] for n in (1, 2, 4)] == pytest.approx([1 / 3, 1 / 3, 1])


def test_any_of_n_is_not_claimed_where_a_candidate_is_ungraded(results):
    path = results / "tables" / "image_scores.parquet"
    table = read_table(path)
    unchosen = (table["system"] == "dalle1") & (table["prompt_id"] == 5) & (table["candidate"] == 2)
    write_table(table[~unchosen], path)
    metrics = run(results)
    assert metrics.loc[metrics["metric"] == "grounded_any", "n_candidates"].tolist() == [1, 2]


def test_psnr_is_a_mean_without_interval(results):
    found = lookup(run(results), "value", "low", "high", "n_reference", "extractor_digest").loc["dvae", "psnr", 1, 0]
    assert found["value"] == pytest.approx(25.5)
    assert np.isnan(found["low"]) and np.isnan(found["high"])
    assert (found["n_reference"], found["extractor_digest"]) == (0, "")


def test_reference_size_and_digest_stand_where_they_count(results):
    table = run(results)
    assert set(table.loc[table["metric"] == "fid", "n_reference"]) == {PROMPTS}
    assert set(table.loc[table["metric"] != "fid", "n_reference"]) == {0}
    looks = table["metric"].isin(["fid", "inception_score"])
    assert set(table.loc[looks, "extractor_digest"]) == {DIGEST}


def test_two_runs_write_the_same_bytes(results):
    run(results, "a.parquet")
    run(results, "b.parquet")
    for suffix in ("parquet", "csv"):
        a, b = (results / "tables" / f"{name}.{suffix}" for name in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_features_of_another_extractor_are_refused(results):
    found = made_up(0, [0])
    stranger = FeatureSet(found.prompt_id, found.candidate, found.features, found.logits, "0123456789abcdef")
    save_features(stranger, results / "features" / "real" / "val" / "blur2.safetensors")
    with pytest.raises(
        ValueError, match=r"real/val, blur 2: extractor digest 0123456789abcdef, but protocol dalle1-off"
    ):
        run(results)


def test_a_chosen_picture_without_features_or_grade_is_an_error(results):
    write_table(selection({1: [0] * 11 + [2]}), results / "systems" / "dalle1" / "val.selection.parquet")
    with pytest.raises(ValueError, match="features: 1 chosen pictures have none, first prompt 11, candidate 2"):
        run(results)
    write_table(selection(WINNERS), results / "systems" / "dalle1" / "val.selection.parquet")
    scored = read_table(results / "tables" / "image_scores.parquet")
    lost = (scored["system"] == "real") & (scored["prompt_id"] == 4)
    write_table(scored[~lost], results / "tables" / "image_scores.parquet")
    with pytest.raises(ValueError, match="'grounded': 1 chosen pictures have none, first prompt 4, candidate 0"):
        run(results)
    assert not (results / "tables" / "metrics.parquet").exists()

"""The metrics table, from features and grades that are made up so that the right answer is known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from eval.features import FeatureSet, save_features
from eval.metrics.frechet import frechet_distance
from eval.protocols.protocol import load_protocol
from eval.shown import Shown
from eval.stats import wilson
from eval.sweep import COLUMNS, Rules, write_metrics
from eval.tables import read_table, write_table

FID, IS = load_protocol("fid.imagenet-lite@1"), load_protocol("is.imagenet-lite@1")
RULES = Rules((FID.label, IS.label), "blur.pil@1", replicates=50, seed=7)
DIGEST = "0123456789abcdef"
OF_FEATURES = set(FID.metrics)
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
    numbers = (rng.normal(size=size).astype(np.float32) for size in sizes)
    return FeatureSet(prompt_id, candidate, np.zeros(len(prompt_id), bool), *numbers, DIGEST)


def selection(winners):
    rows = [(prompt, n, winner) for n in winners for prompt, winner in enumerate(winners[n])]
    return pd.DataFrame(rows, columns=["prompt_id", "n_candidates", "candidate"]).sample(frac=1, random_state=0)


def scores(system, metric, values):
    """``values``: a number for each (prompt, candidate)."""
    rows = [(system, "val", *key, metric, float(value)) for key, value in values.items()]
    table = pd.DataFrame(rows, columns=["system", "suite", "prompt_id", "candidate", "metric", "value"])
    return table.assign(protocol="made-up@1", extractor_digest="")


def right_ones():
    """Candidate 0 is right for a third of the prompts, candidate 3 for two thirds, the others never."""
    return {
        (prompt, candidate): {0: prompt % 3 == 0, 3: prompt % 3 != 0}.get(candidate, False)
        for prompt, candidate in itertools.product(range(PROMPTS), range(DRAWN))
    }


@pytest.fixture
def results(tmp_path):
    """The paths of a small experiment: dalle1, shuffled, real and dvae on the suite val."""
    features = tmp_path / "features" / FID.label
    for seed, (source, candidates) in enumerate({"reference": [0], "dalle1": [0, 1, 3], "real": [0]}.items()):
        for radius in RADII:
            found = made_up(seed + 10 * radius, candidates)
            save_features(found, features / source / "val" / f"blur{radius}.safetensors")
    for radius in RADII:  # perfect reconstructions: the features of the reference
        save_features(made_up(10 * radius, [0]), features / "dvae/val" / f"blur{radius}.safetensors")
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
    write_table(overlap(), tmp_path / "overlap.parquet")
    return tmp_path


def overlap(*prompts):
    flags = [prompt in prompts for prompt in range(PROMPTS)]
    return pd.DataFrame({"suite": "val", "prompt_id": range(PROMPTS), "overlap": flags})


def run(results, out="metrics", jobs=2, rules=RULES):
    """The metrics table of ``results``."""
    shown = Shown.read(
        sorted(results.glob("features/*/*/*/*.safetensors")),
        sorted(results.glob("systems/*/*.selection.parquet")),
        results / "tables" / "image_scores.parquet",
        results / "overlap.parquet",
    )
    tables = results / "tables"
    write_metrics(shown, rules, "toy", tables / f"{out}.parquet", tables / f"{out}-differences.parquet", jobs)
    return read_table(tables / f"{out}.parquet")


def lookup(table, *columns):
    table = table[table["reference"] != "no-overlap"]
    return table.set_index(["system", "metric", "n_candidates", "blur"])[list(columns)].squeeze(axis=1)


def test_columns_types_and_constants(results):
    table = run(results)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    assert table[["experiment", "suite", "seed", "n"]].drop_duplicates().values.tolist() == [["toy", "val", 7, PROMPTS]]
    by_metric = table.groupby("metric")["protocol"].unique().map(list).to_dict()
    assert by_metric.pop("inception_score") == [IS.label]
    assert {by_metric.pop(metric)[0] for metric in OF_FEATURES} == {FID.label}
    assert set(map(tuple, by_metric.values())) == {("made-up@1",)}


def test_there_is_a_row_for_every_system_n_radius_and_metric_that_applies(results):
    candidates = {"dalle1": (1, 2, 4), "shuffled": (1, 2, 4), "real": (1,), "dvae": (1,)}
    sets = {
        (system, metric, n, float(radius))
        for system, metric, radius in itertools.product(candidates, OF_FEATURES | {"inception_score"}, RADII)
        for n in candidates[system]
    }
    graded = {(system, "grounded", n, 0.0) for system in ("dalle1", "shuffled", "real") for n in candidates[system]}
    drawn = {("dalle1", "grounded_any", n, 0.0) for n in (1, 2, 4)}
    there = lookup(run(results), "value").index
    assert there.is_unique
    assert set(there) == sets | graded | drawn | {("dvae", "psnr", 1, 0.0)}


def test_both_sides_of_a_fid_have_the_same_blur(results):
    """dvae holds the features of the reference at each radius, and no other's."""
    value = lookup(run(results), "value")
    for radius in RADII:
        assert value["dvae", "fid", 1, radius] == pytest.approx(0, abs=1e-9)
        assert value["real", "fid", 1, radius] > 0.1


def test_only_blurred_rows_name_the_blurs_protocol(results):
    table = run(results)
    assert set(table.loc[table["blur"] > 0, "blur_protocol"]) == {"blur.pil@1"}
    assert set(table.loc[table["blur"] == 0, "blur_protocol"]) == {""}


def test_an_n_is_judged_by_its_own_pictures(results):
    """With the reference's features put under the winners of N = 4, FID is 0 there and nowhere else."""
    reference, drawn = made_up(0, [0]), made_up(1, [0, 1, 3])
    winner = np.array([WINNERS[4][prompt] for prompt in drawn.prompt_id]) == drawn.candidate
    drawn.features[winner] = reference.features[np.argsort(reference.prompt_id)][drawn.prompt_id[winner]]
    save_features(drawn, results / "features" / FID.label / "dalle1" / "val" / "blur0.safetensors")
    value = lookup(run(results), "value")
    assert value["dalle1", "fid", 4, 0] == pytest.approx(0, abs=1e-9)
    assert min(value["dalle1", "fid", n, 0] for n in (1, 2)) > 0.1


def test_the_inception_score_is_of_the_systems_pictures_and_not_of_the_references(results):
    """Others once fed the real pictures to it. Here the reference is of one kind in the network's eyes, which is 1."""
    before, reference = lookup(run(results), "value"), made_up(0, [0])
    reference.logits[:] = 0
    save_features(reference, results / "features" / FID.label / "reference" / "val" / "blur0.safetensors")
    after = lookup(run(results), "value")
    for n in (1, 2, 4):
        key = "dalle1", "inception_score", n, 0
        assert after[key] == before[key] > 1.01


def test_shuffled_shows_the_pictures_of_dalle1_and_has_grades_of_its_own(results):
    value = lookup(run(results), "value")
    for metric, n, radius in itertools.product(("fid", "kid", "inception_score"), (1, 2, 4), RADII):
        assert value["shuffled", metric, n, radius] == value["dalle1", metric, n, radius]
    assert value["shuffled", "grounded", 4, 0] == 0 < value["dalle1", "grounded", 4, 0]


def test_overlapping_reference_pictures_are_left_out_of_a_second_set_of_rows(results):
    assert set(run(results)["reference"]) == {"all", ""}  # nothing overlaps: no second set
    write_table(overlap(3, 5, 11), results / "overlap.parquet")
    table = run(results)
    fid = table[(table["metric"] == "fid") & (table["system"] == "real") & (table["blur"] == 0)]
    fid = fid.set_index("reference")
    assert fid["n_reference"].to_dict() == {"all": PROMPTS, "no-overlap": PROMPTS - 3}
    reference, real = made_up(0, [0]), made_up(2, [0])
    kept = reference.features[~np.isin(reference.prompt_id, [3, 5, 11])]
    assert fid["value"]["no-overlap"] == pytest.approx(frechet_distance(real.features, kept))
    assert fid["value"]["all"] == pytest.approx(frechet_distance(real.features, reference.features))


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


def test_every_number_has_an_interval_around_it(results):
    """But where resamples cannot differ: FID of the reference with itself has one too; nothing is left empty."""
    table = run(results)
    assert table[["value", "low", "high"]].notna().all(axis=None)
    assert (table["low"] <= table["value"] + 1e-9).all() and (table["value"] <= table["high"] + 1e-9).all()


def test_reference_size_and_digest_stand_where_they_count(results):
    table = run(results)
    of_features = table["metric"].isin(OF_FEATURES)
    assert set(table.loc[of_features, "n_reference"]) == {PROMPTS}
    assert set(table.loc[~of_features, "n_reference"]) == {0}
    looks = of_features | (table["metric"] == "inception_score")
    assert set(table.loc[looks, "extractor_digest"]) == {DIGEST}
    assert set(table.loc[~looks, "extractor_digest"]) == {""}


def test_few_pictures_and_lossy_files_are_warned_of(results):
    path = results / "features" / FID.label / "real" / "val" / "blur0.safetensors"
    found = made_up(2, [0])
    found.lossy[:5] = True
    save_features(found, path)
    warning = lookup(run(results), "warning")
    few = f"12 pictures and 12 reference pictures, {FID.label} asks for 2048"
    assert warning["real", "fid", 1, 0] == f"{few}; 5 pictures from lossy files"
    assert warning["dalle1", "fid", 1, 0] == few
    assert warning["real", "grounded", 1, 0] == ""


def test_two_runs_write_the_same_bytes_on_any_number_of_threads(results):
    run(results, "a", jobs=1)
    run(results, "b", jobs=3)
    for suffix in (".parquet", ".csv", "-differences.parquet", "-differences.csv"):
        a, b = (results / "tables" / f"{name}{suffix}" for name in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_features_of_another_extractor_are_refused(results):
    found = made_up(0, [0])
    arrays = (found.prompt_id, found.candidate, found.lossy, found.features, found.logits)
    path = results / "features" / FID.label / "real" / "val" / "blur2.safetensors"
    save_features(FeatureSet(*arrays, "feedfeedfeedfeed"), path)
    with pytest.raises(ValueError, match=r"real/val, blur 2: extractor digest feedfeedfeedfeed, but .* 0123456789abcd"):
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


def differences(results, metric, system, other, blur=0):
    run(results)
    table = read_table(results / "tables" / "metrics-differences.parquet")
    rows = table[(table["metric"] == metric) & (table["blur"] == blur)]
    return rows[(rows["system"] == system) & (rows["other"] == other)]


def test_a_difference_is_that_of_the_values_and_its_interval_that_of_pairs(results):
    row = differences(results, "grounded", "dalle1", "real").iloc[0]
    assert (row["n_candidates"], row["other_n_candidates"], row["n"]) == (4, 1, PROMPTS)
    assert row["value"] == pytest.approx(6 / 12 - 1)
    assert row["low"] < row["value"] < row["high"]
    gain = differences(results, "grounded", "dalle1", "dalle1").iloc[0]
    assert (gain["n_candidates"], gain["other_n_candidates"]) == (4, 1)


def test_the_same_pictures_are_not_compared(results):
    assert differences(results, "fid", "dalle1", "shuffled", blur=2).empty
    assert len(differences(results, "grounded", "dalle1", "shuffled")) == 1


def test_pairs_know_more_than_two_intervals(results):
    """Grades that agree for all but one prompt: the difference is surer than either share."""
    path = results / "tables" / "image_scores.parquet"
    right = {(p, 0): p % 2 == 0 for p in range(PROMPTS)}
    table = read_table(path)
    table = table[~(table["system"].isin(["real", "dvae"]) & (table["metric"] == "grounded"))]
    nearly = right | {(1, 0): True}
    write_table(pd.concat([table, scores("real", "grounded", right), scores("dvae", "grounded", nearly)]), path)
    row = differences(results, "grounded", "dvae", "real").iloc[0]
    shares = lookup(run(results), "low", "high").loc["real", "grounded", 1, 0]
    assert row["value"] == pytest.approx(1 / PROMPTS)
    assert row["high"] - row["low"] < 0.6 * (shares["high"] - shares["low"])


def test_a_number_that_cannot_be_had_is_empty_and_says_why(results):
    """tf-compat's KID wants 1,000 pictures a side, its FID∞ 5,000."""
    strict = load_protocol("fid.tf-compat@1")
    (results / "features" / FID.label).rename(results / "features" / strict.label)
    table = run(results, rules=Rules((strict.label,), "blur.pil@1", replicates=50, seed=7))
    kid = lookup(table, "value", "warning").loc["real", "kid", 1, 0]
    assert np.isnan(kid["value"]) and "1000" in kid["warning"] and "given" in kid["warning"]
    assert lookup(table, "value").loc["real", "fid", 1, 0] > 0
    paired = read_table(results / "tables" / "metrics-differences.parquet")
    assert "kid" not in set(paired["metric"]) and "fid" in set(paired["metric"])


def test_a_protocol_named_twice_or_without_its_version_counts_once(results):
    twice = Rules((FID.label, "fid.imagenet-lite", IS.label), "blur.pil@1", replicates=50, seed=7)
    assert run(results, "twice", rules=twice).equals(run(results))


def test_a_reference_too_small_for_neighbours_takes_no_other_metric_along(results):
    write_table(overlap(*range(8)), results / "overlap.parquet")
    table = run(results)
    rest = table[(table["reference"] == "no-overlap") & (table["system"] == "real") & (table["blur"] == 0)]
    rest = rest.set_index("metric")
    assert rest["n_reference"]["fid"] == 4 and rest["value"]["fid"] > 0
    assert np.isnan(rest["value"]["recall"]) and "nearest neighbours need at least 6" in rest["warning"]["recall"]


def test_pictures_that_fill_no_batch_are_left_out(results, monkeypatch):
    dropping = FID.model_copy(update={"drop_last": 5})
    monkeypatch.setattr(
        "eval.sweep.load_protocol", lambda label: dropping if label == FID.label else load_protocol(label)
    )
    fid = run(results).query("metric == 'fid'")
    assert set(fid["n"]) == set(fid["n_reference"]) == {10}
    all_of_it = dropping.model_copy(update={"drop_last": 50})
    monkeypatch.setattr(
        "eval.sweep.load_protocol", lambda label: all_of_it if label == FID.label else load_protocol(label)
    )
    with pytest.raises(ValueError, match="drops what does not fill a batch of 50; given 12 pictures"):
        run(results)


def test_cut_captions_and_lossy_pictures_weaken_what_captions_are_asked(results):
    path = results / "tables" / "image_scores.parquet"
    keys = [(prompt, 0) for prompt in range(PROMPTS)]
    more = [
        scores("real", name, {key: float(key[0] < num) for key in keys})
        for name, num in (("clip_cos", 9), ("truncated", 2), ("lossy", 3))
    ]
    write_table(pd.concat([read_table(path), *(table.assign(protocol="clip.own@1") for table in more)]), path)
    warning = lookup(run(results), "warning")["real", "clip_cos", 1, 0]
    assert warning == "2 captions cut; 3 pictures from lossy files"

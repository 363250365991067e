"""MLflow shows what the files hold, and mirroring again replaces rather than adds."""

import json
from pathlib import Path

import pandas as pd
import pytest

from eval import track

CONFIG = {
    "experiment": "tiny",
    "prior": {"optimisation": {"steps": 40, "betas": [0.9, 0.96]}, "top_k": None},
    "data": {f"setting{number}": number for number in range(150)},  # more than MLflow takes in one call
}


def results_folder(folder: Path) -> Path:
    """Finished results by the contract, as small as they can be."""
    rows = [
        ("dalle1", 1, "fid", 0.0, 90.0, None, None),
        ("dalle1", 4, "fid", 0.0, 80.0, None, None),
        ("dalle1", 4, "fid", 0.5, 70.0, None, None),
        ("dalle1", 1, "grounded", 0.0, 0.25, 0.2, 0.3),
        ("dalle1", 4, "grounded", 0.0, 0.5, 0.4, 0.6),
        ("real", 1, "fid", 0.0, 12.0, None, None),
    ]
    columns = ["system", "n_candidates", "metric", "blur", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns).assign(suite="val", experiment="tiny", reference="all")
    table["protocol"] = table["metric"].map({"fid": "fid.lite@1", "grounded": "grounded.scenes@1"})
    table = pd.concat([table, table.query("blur == 0.5").assign(reference="no-overlap", value=75.0)])
    for name in ("tables", "figures", *track.STAGES):
        (folder / name).mkdir(parents=True)
    table.to_parquet(folder / "tables" / "metrics.parquet")
    (folder / "figures" / "blur.png").write_bytes(b"a picture")
    (folder / "headline.txt").write_text("the headline\n")
    record = {"digest": "d0", "digests": {"code": "c0", "weights": {"prior": "p0"}}}
    (folder / "provenance.json").write_text(json.dumps(record))
    for stage in track.STAGES:
        log = pd.DataFrame({"step": range(0, 12000, 10), "loss": [1 / (1 + step) for step in range(1200)]})
        log = log.assign(kl=1.0, perplexity=2.0)
        log.to_csv(folder / stage / "log.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory):
    """The client, and the markers of two mirrors of one folder, between which somebody else logged a run."""
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("root")
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        results, markers = results_folder(root / "results" / "tiny"), []
        for _ in range(2):
            track.mirror(results, CONFIG, results / "mlflow.json")
            markers.append(json.loads((results / "mlflow.json").read_text()))
            MlflowClient().create_run(markers[0]["experiment_id"], run_name="somebody else's")
        yield MlflowClient(), markers


def history(client, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run_id, key))


def test_the_default_store_lies_in_the_current_folder(mirrored):
    assert Path("mlflow.db").exists()
    assert list(Path("mlruns").rglob("blur.png"))


def test_a_second_mirror_replaces_the_first_and_nothing_else(mirrored):
    client, (first, second) = mirrored
    active = {run.info.run_id: run.info.run_name for run in client.search_runs([second["experiment_id"]])}
    assert first["experiment_id"] == second["experiment_id"]
    ours = {second["parent"], *second["children"].values()}
    assert {run_id for run_id, name in active.items() if name != "somebody else's"} == ours
    assert len(active) == len(ours) + 2
    assert not ours & {first["parent"], *first["children"].values()}


def test_the_parent_carries_settings_headline_facts_and_artifacts(mirrored):
    client, (_, marker) = mirrored
    run = client.get_run(marker["parent"])
    assert run.data.params["prior.optimisation.steps"] == "40"
    assert run.data.params["prior.top_k"] == "None"
    assert len(run.data.params) == 154
    headline = {"val_fid_n1": 90.0, "val_fid_n4": 80.0, "val_grounded_n1": 0.25, "val_grounded_n4": 0.5}
    assert run.data.metrics == headline
    assert run.data.tags["python"].startswith("3.")
    digests = {"digest.record": "d0", "digest.code": "c0", "digest.weights.prior": "p0"}
    assert {name: value for name, value in run.data.tags.items() if name.startswith("digest.")} == digests
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(marker["parent"])} == {
        *("figures", "tables", "headline.txt", "provenance.json")
    }


def test_a_child_holds_the_metrics_of_a_system_against_n(mirrored):
    client, (_, marker) = mirrored
    run_id = marker["children"]["dalle1 on val"]
    assert history(client, run_id, "fid_blur0") == [(1, 90.0), (4, 80.0)]
    assert history(client, run_id, "fid_blur0.5") == [(4, 70.0)]
    assert history(client, run_id, "fid_no-overlap_blur0.5") == [(4, 75.0)]
    assert history(client, run_id, "grounded_high") == [(1, 0.3), (4, 0.6)]
    assert "fid_blur0_low" not in client.get_run(run_id).data.metrics
    assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == marker["parent"]
    assert marker["children"].keys() == {
        "dalle1 on val",
        "real on val",
        *(f"training of {stage}" for stage in track.STAGES),
    }


def test_training_logs_are_thinned_and_end_with_their_last_row(mirrored):
    client, (_, marker) = mirrored
    curve = history(client, marker["children"]["training of prior"], "loss")
    assert len(curve) == 400
    assert curve[-1] == (11990, pytest.approx(1 / 1200))


def test_a_short_log_is_mirrored_whole_and_gaps_stay_gaps():
    log = pd.DataFrame({"step": [0, 10, 20], "loss": [3.0, 2.0, 1.0], "kl": [None, 5.0, None]})
    points = track.log_points(log)
    assert points == [("loss", 3.0, 0), ("loss", 2.0, 10), ("loss", 1.0, 20), ("kl", 5.0, 10)]


def test_protocols_of_one_metric_have_their_labels_in_the_names():
    row = {"blur": 0.0, "low": None, "high": None, "n_candidates": 1, "reference": "all", "metric": "fid", "value": 1.0}
    table = pd.DataFrame([row | {"protocol": label} for label in ("fid.clean@1", "fid.lite@2")])
    assert [point.key for point in track.metric_points(table)] == ["fid_blur0/fid.clean-1", "fid_blur0/fid.lite-2"]

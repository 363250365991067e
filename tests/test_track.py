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
    for name in ("tables", "figures", "data", "systems/dalle1", *track.STAGES):
        (folder / name).mkdir(parents=True)
    table.to_parquet(folder / "tables" / "metrics.parquet")
    table.head(3).to_parquet(folder / "data" / "train.parquet")
    for name in ("data", "systems/dalle1"):
        table.head(2).to_parquet(folder / name / "val.parquet")
    verdict = {"comparison": "ours-theirs", "question": "realism", "raters": "kept"}
    verdicts = pd.DataFrame([verdict | {"rate": 0.75, "rate_low": 0.7, "rate_high": None}])
    verdicts.to_parquet(folder / "tables" / "human.parquet")
    (folder / "figures" / "blur.png").write_bytes(b"a picture")
    for name in ("headline.txt", "human.txt", "report.html"):
        (folder / name).write_text(f"the {name}\n")
    (folder / "provenance.json").write_text(json.dumps(record()))
    for stage in track.STAGES:
        log = pd.DataFrame({"step": range(0, 12000, 10), "loss": [1 / (1 + step) for step in range(1200)]})
        log = log.assign(kl=1.0, perplexity=2.0)
        log.to_csv(folder / stage / "log.csv", index=False)
        (folder / stage / "model.json").write_text("{}")
        (folder / stage / "weights.safetensors").write_bytes(b"weights")
    return folder


def record() -> dict:
    """Of the record what the mirror reads: the data are made, and every stage is trained on a part of them."""
    made = {"data/train.parquet": "d1", "data/val.parquet": "d2", "data/report.json": "d3"}
    jobs = [{"rule": "scenes", "made": made, "read": {}}]
    jobs += [{"rule": "dalle1", "made": {"systems/dalle1/val.parquet": "d4"}, "read": {"data/val.parquet": "d2"}}]
    read = {"data/train.parquet": "d1", "tokenizer/tokenizer.json": "t0"}
    jobs += [{"rule": stage, "made": {f"{stage}/log.csv": "l0"}, "read": read} for stage in track.STAGES]
    weights = {stage: f"{stage}0" for stage in track.STAGES}
    return {"digest": "r0", "digests": {"code": "c0", "weights": weights}, "jobs": jobs}


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
    headline = {"val/fid_n1": 90.0, "val/fid_n4": 80.0, "val/grounded_n1": 0.25, "val/grounded_n4": 0.5}
    people = {"people/ours-theirs_realism_kept": 75.0, "intervals/ours-theirs_realism_kept_low": 70.0}
    assert run.data.metrics == pytest.approx(headline | people)
    assert "the headline.txt" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["python"].startswith("3.")
    digests = {"digest.record": "r0", "digest.code": "c0"}
    digests |= {f"digest.weights.{stage}": f"{stage}0" for stage in track.STAGES}
    assert {name: value for name, value in run.data.tags.items() if name.startswith("digest.")} == digests
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(marker["parent"])} == {
        *("figures", "tables", "headline.txt", "human.txt", "report.html", "provenance.json")
    }


def test_a_child_holds_the_metrics_of_a_system_against_n(mirrored):
    client, (_, marker) = mirrored
    run_id = marker["children"]["dalle1 on val"]
    assert history(client, run_id, "fid/blur0") == [(1, 90.0), (4, 80.0)]
    assert history(client, run_id, "fid/blur0.5") == [(4, 70.0)]
    assert history(client, run_id, "fid/no-overlap_blur0.5") == [(4, 75.0)]
    assert history(client, run_id, "intervals/grounded_high") == [(1, 0.3), (4, 0.6)]
    assert "intervals/fid_blur0_low" not in client.get_run(run_id).data.metrics
    assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == marker["parent"]
    assert marker["children"].keys() == {
        "dalle1 on val",
        "real on val",
        *(f"training of {stage}" for stage in track.STAGES),
    }


def inputs(client, run_id: str) -> dict[str, tuple[str, str]]:
    """{name: (digest, role)} of the data that went into a run."""
    found = client.get_run(run_id).inputs.dataset_inputs
    return {one.dataset.name: (one.dataset.digest, one.tags[0].value) for one in found}


def test_every_run_names_the_data_that_went_in(mirrored):
    client, (_, marker) = mirrored
    assert inputs(client, marker["parent"]).keys() == {"train", "val"}
    assert inputs(client, marker["children"]["training of prior"]) == {"train": ("d1", "training")}
    judged = inputs(client, marker["children"]["dalle1 on val"])
    assert judged == {"val": ("d2", "captions"), "systems/dalle1/val": ("d4", "pictures")}
    (train,) = client.get_run(marker["children"]["training of prior"]).inputs.dataset_inputs
    assert json.loads(train.dataset.profile) == {"num_rows": 3}


def test_a_small_model_is_copied_and_a_large_one_only_named(mirrored, monkeypatch: pytest.MonkeyPatch):
    client, (_, marker) = mirrored
    run_id = marker["children"]["training of prior"]
    assert {file.path for file in client.list_artifacts(run_id, "model")} == {
        *("model/model.json", "model/weights.safetensors")
    }
    assert client.get_run(run_id).data.tags["model.digest"] == "prior0"
    monkeypatch.setattr(track, "SMALL", 8)  # two files of 2 + 7 bytes
    run = track._training(Path("results", "tiny", "prior").resolve(), record())
    assert run.files == [] and run.tags["model.weights"].endswith("tiny/prior/weights.safetensors")


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
    assert [point.key for point in track.metric_points(table)] == ["fid/blur0_fid.clean-1", "fid/blur0_fid.lite-2"]


def test_what_a_killed_mirror_left_is_replaced_too(mirrored, monkeypatch: pytest.MonkeyPatch):
    client, (_, second) = mirrored
    results, written = Path("results", "tiny"), []

    def die_at_the_third(*arguments: object) -> str:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(write_run(*arguments))
        return written[-1]

    write_run = track._write_run
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(track, "_write_run", die_at_the_third)
        track.mirror(results, CONFIG, results / "killed.json")
    assert not (results / "killed.json").exists()
    track.mirror(results, CONFIG, results / "again.json")
    again = json.loads((results / "again.json").read_text())
    active = {run.info.run_id for run in client.search_runs([again["experiment_id"]])}
    assert {again["parent"], *again["children"].values()} < active and not active & set(written)
    assert len(active) == 1 + len(second["children"]) + 2  # two are somebody else's


def test_data_that_another_mirror_inserts_at_the_same_moment_are_logged_all_the_same():
    from mlflow.exceptions import MlflowException

    class Server:
        """Refuses as often as another mirror was faster."""

        def __init__(self, faster: int) -> None:
            self.faster, self.logged = faster, []

        def log_inputs(self, run_id: str, datasets: list) -> None:
            self.faster -= 1
            if self.faster >= 0:
                raise MlflowException("UNIQUE constraint failed: datasets.experiment_id, datasets.name")
            self.logged += datasets

    once = Server(1)
    track._log_input(once, "run", "train")
    assert once.logged == ["train"]
    with pytest.raises(MlflowException, match="UNIQUE"):
        track._log_input(Server(2), "run", "train")

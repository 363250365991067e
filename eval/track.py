"""The mirror: finished tables, figures and training logs as MLflow runs. The only file that imports mlflow.

Results live in files; MLflow shows them. Its store can be deleted at any time, and the next mirror rebuilds it. Runs of
an experiment: one parent (settings, headline metrics, artifacts), below it one child for each system and suite (its
metrics, with N as the step) and one for each trained stage (its log, with updates as the step).
"""

import getpass
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from dalle.provenance import atomic, run_facts
from eval.tables import NO_OVERLAP

if TYPE_CHECKING:
    from mlflow import MlflowClient

OURS = "dalle1"
STAGES = ("dvae", "prior", "clip")
MIRRORED = "dalle-bench.mirror"  # the tag by which a later mirror of the same folder knows the runs it may replace
CURVE = 500  # points of a training log that are shown, at most


class Point(NamedTuple):
    """One value of one metric of a run."""

    key: str
    value: float
    step: int


def flatten(settings: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested settings, named by their path: ``prior.optimisation.steps``."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def metric_name(row: NamedTuple) -> str:
    """``fid_blur4`` where there is blur to speak of, ``fid_no-overlap_blur0`` against fewer reference pictures."""
    parts = [row.metric, *([NO_OVERLAP] if row.reference == NO_OVERLAP else [])]
    return "_".join([*parts, f"blur{row.blur:g}"] if row.protocol.startswith(("fid.", "is.")) else parts)


def metric_points(rows: pd.DataFrame) -> list[Point]:
    """The metrics of one system and suite against N: ``fid_blur4``, ``grounded``, ``grounded_low``, …

    Of several protocols of a metric each has its label in the name: ``fid_blur4/fid.clean-1``.
    """
    several = rows.groupby("metric")["protocol"].transform("nunique") > 1
    points = []
    for row, label in zip(rows.itertuples(), several, strict=True):
        name = f"{metric_name(row)}/{row.protocol.replace('@', '-')}" if label else metric_name(row)
        bounds = {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high}
        points += [Point(key, value, row.n_candidates) for key, value in bounds.items() if pd.notna(value)]
    return points


def headline_points(metrics: pd.DataFrame) -> list[Point]:
    """Ours, unblurred, at N = 1 and at the largest N: ``val_grounded_n32``."""
    ours = metrics[(metrics["system"] == OURS) & (metrics["blur"] == 0) & (metrics["reference"] != NO_OVERLAP)]
    ours = ours.drop_duplicates(["suite", "metric", "n_candidates"])
    ends = ours[ours["n_candidates"].isin([1, ours["n_candidates"].max()])]
    return [Point(f"{row.suite}_{row.metric}_n{row.n_candidates}", row.value, 0) for row in ends.itertuples()]


def log_points(log: pd.DataFrame) -> list[Point]:
    """The curves of a training log, thinned to at most ``CURVE`` points each, the last one kept."""
    every = -(-len(log) // CURVE)
    thinned = log.iloc[::-1].iloc[::every].iloc[::-1].set_index("step")
    return [Point(name, value, step) for name in thinned for step, value in thinned[name].dropna().items()]


def _origin(results: Path) -> str:
    """Whose runs: on a server many people's experiments may have one name."""
    return f"{getpass.getuser()}:{results.resolve()}"


def _fresh_experiment(client: "MlflowClient", name: str, origin: str) -> str:
    """The id of the experiment, which is there and holds no run of a former mirror of ``origin``; all others stay."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # somebody else may have made it, perhaps at this moment
        return client.create_experiment(name)
    experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    while former := client.search_runs([experiment.experiment_id], f"tags.`{MIRRORED}` = '{origin}'"):
        for run in former:
            client.delete_run(run.info.run_id)
    return experiment.experiment_id


def _write_run(
    client: "MlflowClient", experiment_id: str, name: str, points: list[Point], params: dict, tags: dict
) -> str:
    """The id of a new, finished run."""
    from mlflow.entities import Metric, Param

    run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
    now = int(1000 * time.time())
    metrics = [Metric(point.key, point.value, now, point.step) for point in points]
    settings = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(metrics), 1000):  # as many as MLflow takes at once; of parameters it takes 100
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    for start in range(0, len(settings), 100):
        client.log_batch(run_id, params=settings[start : start + 100])
    client.set_terminated(run_id)
    return run_id


def _children(results: Path, metrics: pd.DataFrame) -> Iterator[tuple[str, list[Point], dict]]:
    """Name, points and parameters of each child run."""
    for (system, suite), rows in metrics.groupby(["system", "suite"]):
        yield f"{system} on {suite}", metric_points(rows), {"system": system, "suite": suite}
    for stage in STAGES:
        yield f"training of {stage}", log_points(pd.read_csv(results / stage / "log.csv")), {"stage": stage}


def _digest_tags(record: dict) -> Iterator[tuple[str, str]]:
    """What tells this experiment from another: ``digest.code``, ``digest.weights.prior``, …"""
    yield from flatten({"digest": {**record["digests"], "record": record["digest"]}})


def mirror(results: str | Path, config: dict, out: str | Path) -> None:
    """The results folder as runs of the MLflow experiment ``config["experiment"]``; ``out`` (JSON) names their ids.

    The store is MLflow's default (``mlflow.db`` and ``mlruns`` in the current folder) unless MLFLOW_TRACKING_URI says
    otherwise; without that variable nothing leaves the machine. Runs of a former mirror of this folder are replaced:
    they go to MLflow's trash, which ``mlflow gc`` empties. On a server several may mirror at once.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, when mlflow is imported
    from mlflow import MlflowClient

    results, client = Path(results), MlflowClient()
    metrics = pd.read_parquet(results / "tables" / "metrics.parquet")
    ours = {MIRRORED: _origin(results)}
    experiment_id = _fresh_experiment(client, config["experiment"], ours[MIRRORED])
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    facts = {name: value for name, value in run_facts().items() if value is not None} | dict(_digest_tags(record))
    settings = dict(flatten(config))
    parent = _write_run(client, experiment_id, config["experiment"], headline_points(metrics), settings, facts | ours)
    for folder in ("figures", "tables"):
        client.log_artifacts(parent, str(results / folder), folder)
    for file in ("headline.txt", "provenance.json"):
        client.log_artifact(parent, str(results / file))
    children = {
        name: _write_run(client, experiment_id, name, points, params, {"mlflow.parentRunId": parent} | ours)
        for name, points, params in _children(results, metrics)
    }
    marker = {"experiment_id": experiment_id, "parent": parent, "children": children}
    with atomic(out) as temporary:
        temporary.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")

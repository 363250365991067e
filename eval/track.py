"""The mirror: finished tables, figures and training logs as MLflow runs. The only file that imports mlflow.

Results live in files; MLflow shows them. Its store can be deleted at any time, and the next mirror rebuilds it. Runs of
an experiment: one parent (settings, headline metrics, verdicts of people, artifacts), below it a child for each
system and suite (its metrics, with N as the step), one for each trained stage (its log, with updates as the step, and
its model). Each names the data that went in. MLflow draws a chart for each metric, in a section for what stands before
the slash.
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
import pyarrow.parquet as pq

from dalle.provenance import atomic, run_facts
from eval.tables import NO_OVERLAP

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

OURS = "dalle1"
STAGES = ("dvae", "prior", "clip")
MIRRORED = "dalle-bench.mirror"  # the tag by which a later mirror of the same folder knows the runs it may replace
CURVE = 500  # points of a training log that are shown, at most
SMALL = 16 * 2**20  # bytes of a model that is copied into the store; else the run has the path and the digest
NOTE = 7500  # characters of a run's description; MLflow takes 8,000 of any tag


class Point(NamedTuple):
    """One value of one metric of a run."""

    key: str
    value: float
    step: int


class Use(NamedTuple):
    """A file of ours that went into a run, and as what."""

    path: str  # relative to the results
    digest: str
    role: str


class Run(NamedTuple):
    """What MLflow is to show of a run. ``files`` are artifacts: a file or a folder, and the folder it is shown in."""

    name: str
    points: list[Point]
    params: dict[str, object]
    tags: dict[str, str]
    uses: list[Use]
    files: list[tuple[Path, str]]


def flatten(settings: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested settings, named by their path: ``prior.optimisation.steps``."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def metric_name(row: NamedTuple) -> str:
    """``fid/blur4`` where there is blur to speak of, ``fid/no-overlap_blur0`` against fewer reference pictures."""
    blur = [f"blur{row.blur:g}"] if row.protocol.startswith(("fid.", "is.")) else []
    details = [*([NO_OVERLAP] if row.reference == NO_OVERLAP else []), *blur]
    return "/".join([row.metric, *(["_".join(details)] if details else [])])


def metric_points(rows: pd.DataFrame) -> list[Point]:
    """The metrics of one system and suite against N: ``fid/blur4``, ``grounded``, ``intervals/grounded_low``, …

    Of several protocols of a metric each has its label in the name: ``fid/blur4_fid.clean-1``.
    """
    several = rows.groupby("metric")["protocol"].transform("nunique") > 1
    points = []
    for row, label in zip(rows.itertuples(), several, strict=True):
        name = metric_name(row)
        if label:
            name += ("_" if "/" in name else "/") + row.protocol.replace("@", "-")
        bound = f"intervals/{name.replace('/', '_')}"
        values = {name: row.value, f"{bound}_low": row.low, f"{bound}_high": row.high}
        points += [Point(key, value, row.n_candidates) for key, value in values.items() if pd.notna(value)]
    return points


def headline_points(metrics: pd.DataFrame) -> list[Point]:
    """Ours, unblurred, at N = 1 and at the largest N: ``val/grounded_n32``."""
    ours = metrics[(metrics["system"] == OURS) & (metrics["blur"] == 0) & (metrics["reference"] != NO_OVERLAP)]
    ours = ours.drop_duplicates(["suite", "metric", "n_candidates"])
    ends = ours[ours["n_candidates"].isin([1, ours["n_candidates"].max()])]
    return [Point(f"{row.suite}/{row.metric}_n{row.n_candidates}", row.value, 0) for row in ends.itertuples()]


def verdict_points(verdicts: pd.DataFrame) -> list[Point]:
    """How many of a hundred votes went to the first system: ``people/dalle1-dvae_realism_kept``; none without votes."""
    points = []
    for row in verdicts.itertuples():
        name = f"{row.comparison}_{row.question}_{row.raters}"
        bounds = {
            f"people/{name}": row.rate,
            f"intervals/{name}_low": row.rate_low,
            f"intervals/{name}_high": row.rate_high,
        }
        points += [Point(key, 100 * value, 0) for key, value in bounds.items() if pd.notna(value)]
    return points


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


def _write_run(client: "MlflowClient", experiment_id: str, results: Path, run: Run) -> str:
    """The id of a new, finished run."""
    from mlflow.entities import Metric, Param

    run_id = client.create_run(experiment_id, run_name=run.name, tags=run.tags).info.run_id
    now = int(1000 * time.time())
    metrics = [Metric(point.key, point.value, now, point.step) for point in run.points]
    settings = [Param(key, str(value)) for key, value in run.params.items()]
    for start in range(0, len(metrics), 1000):  # as many as MLflow takes at once; of parameters it takes 100
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    for start in range(0, len(settings), 100):
        client.log_batch(run_id, params=settings[start : start + 100])
    for use in run.uses:
        _log_input(client, run_id, _dataset(results, use))
    for path, folder in run.files:
        (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), folder or None)
    client.set_terminated(run_id)
    return run_id


def _log_input(client: "MlflowClient", run_id: str, data: "DatasetInput") -> None:
    """The data as an input of the run.

    The server looks whether it knows the data and then inserts them, in two steps: another mirror of the same data may
    come between, which is an error there. The second time they are known.
    """
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        return client.log_inputs(run_id, [data])
    return client.log_inputs(run_id, [data])


def _dataset(results: Path, use: Use) -> "DatasetInput":
    """An archive as MLflow knows data: ``train``, its rows and columns, the beginning of its digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    table = pq.ParquetFile(results / use.path)
    columns = [{"name": field.name, "type": str(field.type)} for field in table.schema_arrow]
    described = Dataset(
        name=use.path.removeprefix("data/").removesuffix(".parquet"),
        digest=use.digest[:16],  # MLflow takes 36 characters
        source_type="local",
        source=json.dumps({"uri": str(results / use.path)}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": table.metadata.num_rows}),
    )
    return DatasetInput(described, [InputTag("mlflow.data.context", use.role)])


def _parent(results: Path, config: dict, metrics: pd.DataFrame, record: dict) -> Run:
    """The experiment as a whole."""
    verdicts = pd.read_parquet(results / "tables" / "human.parquet")
    facts = {name: value for name, value in run_facts().items() if value is not None} | dict(_digest_tags(record))
    headline = (results / "headline.txt").read_text(encoding="utf-8")
    files = [(results / folder, folder) for folder in ("figures", "tables")]
    files += [(results / file, "") for file in ("headline.txt", "human.txt", "report.html", "provenance.json")]
    return Run(
        name=config["experiment"],
        points=headline_points(metrics) + verdict_points(verdicts),
        params=dict(flatten(config)),
        tags=facts | {"mlflow.note.content": f"```\n{headline[:NOTE]}\n```"},
        uses=[Use(path, digest, "made") for path, digest in _made(record).items() if path.startswith("data/")],
        files=files,
    )


def _children(results: Path, metrics: pd.DataFrame, record: dict) -> Iterator[Run]:
    """Each system on each suite, then each trained stage."""
    made = _made(record)
    for (system, suite), rows in metrics.groupby(["system", "suite"]):
        roles = {f"data/{suite}.parquet": "captions", f"systems/{system}/{suite}.parquet": "pictures"}
        uses = [Use(path, made[path], role) for path, role in roles.items() if path in made]
        yield Run(f"{system} on {suite}", metric_points(rows), {"system": system, "suite": suite}, {}, uses, [])
    for stage in STAGES:
        yield _training(results / stage, record)


def _training(folder: Path, record: dict) -> Run:
    """A stage's log, what it was trained on, and its model: the files if they are small, else where they lie."""
    stage, files = folder.name, [folder / "model.json", folder / "weights.safetensors"]
    read = {path: digest for job in record["jobs"] if job["rule"] == stage for path, digest in job["read"].items()}
    weights = record["digests"]["weights"][stage]
    return Run(
        name=f"training of {stage}",
        points=log_points(pd.read_csv(folder / "log.csv")),
        params={"stage": stage},
        tags={"model.weights": str(files[1]), "model.digest": weights},
        uses=[Use(path, digest, "training") for path, digest in read.items() if path.startswith("data/")],
        files=[(file, "model") for file in files] if sum(file.stat().st_size for file in files) <= SMALL else [],
    )


def _made(record: dict) -> dict[str, str]:
    """The digests of the archives that the jobs behind the results made, by path."""
    jobs = (job["made"] for job in record["jobs"])
    return {path: digest for made in jobs for path, digest in made.items() if path.endswith(".parquet")}


def _digest_tags(record: dict) -> Iterator[tuple[str, str]]:
    """What tells this experiment from another: ``digest.code``, ``digest.weights.prior``, …"""
    yield from flatten({"digest": {**record["digests"], "record": record["digest"]}})


def mirror(results: str | Path, config: dict, out: str | Path) -> None:
    """The results folder as runs of the MLflow experiment ``config["experiment"]``; ``out`` (JSON) names their ids.

    The store is MLflow's default (``mlflow.db`` and ``mlruns`` in the current folder) unless MLFLOW_TRACKING_URI says
    otherwise; without that variable nothing leaves the machine. Runs of a former mirror of this folder, even one that
    was killed half-way, are replaced: they go to MLflow's trash, which ``mlflow gc`` empties. On a server several may
    mirror at once.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read once, when mlflow is imported
    from mlflow import MlflowClient

    results, client = Path(results), MlflowClient()
    metrics = pd.read_parquet(results / "tables" / "metrics.parquet")
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    ours = {MIRRORED: _origin(results)}
    experiment_id = _fresh_experiment(client, config["experiment"], ours[MIRRORED])

    def write(run: Run, **tags: str) -> str:
        return _write_run(client, experiment_id, results, run._replace(tags=run.tags | ours | tags))

    parent = write(_parent(results, config, metrics, record))
    below = {"mlflow.parentRunId": parent}
    children = {run.name: write(run, **below) for run in _children(results, metrics, record)}
    marker = {"experiment_id": experiment_id, "parent": parent, "children": children}
    with atomic(out) as temporary:
        temporary.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")

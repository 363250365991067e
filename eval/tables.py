"""Tidy tables: parquet for programs, CSV beside it for people, both whole or not there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dalle.provenance import atomic

ALL, NO_OVERLAP = "all", "no-overlap"  # sets of reference pictures: the second without near-duplicates of training
BRIEF = {
    "fid": ("FID {:.1f}", 1),
    "inception_score": ("Inception Score {:.2f}", 1),
    "grounded": ("right {:.1f} %", 100),
}
COST = {"s": "wall_s", "cpu_time": "cpu_s", "max_rss": "max_rss_mb"}  # what Snakemake calls it, what we call it


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write ``path`` (parquet) and the same rows as CSV under the same name. Equal frames give equal bytes."""
    path = Path(path)
    with atomic(path) as parquet, atomic(path.with_suffix(".csv")) as csv:
        frame.to_parquet(parquet, index=False)
        frame.to_csv(csv, index=False)


def read_table(path: str | Path) -> pd.DataFrame:
    """The frame that :func:`write_table` wrote, dtypes included."""
    return pd.read_parquet(path)


def first_protocols(metrics: pd.DataFrame, protocols: Sequence[str]) -> pd.DataFrame:
    """The rows that stand for a metric where several protocols give it: those of the first in the settings' order."""
    place = metrics["protocol"].map({label: number for number, label in enumerate(protocols)}).fillna(len(protocols))
    return metrics[place == place.groupby(metrics["metric"]).transform("min")]


def in_brief(metrics: str | Path) -> str:
    """``FID 182.6, right 97.7 %: dalle1 on val, best of 32``: without blur, against all reference pictures."""
    table = read_table(metrics)
    ours = table[(table["system"] == "dalle1") & (table["suite"] == "val") & (table["blur"] == 0)]
    ours = ours[(ours["reference"] != NO_OVERLAP) & (ours["n_candidates"] == ours["n_candidates"].max())]
    values = ours.drop_duplicates("metric").set_index("metric")["value"]
    told = [form.format(scale * values[name]) for name, (form, scale) in BRIEF.items() if name in values]
    return f"{', '.join(told)}: dalle1 on val, best of {ours['n_candidates'].max()}"


def write_cost(benchmarks: Sequence[str | Path], out: str | Path) -> None:
    """What each rule cost, by Snakemake's benchmark files ``…/benchmarks/{rule}/….tsv`` or ``…/benchmarks/{rule}.tsv``.

    Columns: rule, jobs (how many files), wall_s and cpu_s (sums over the jobs, seconds), max_rss_mb (the largest job,
    MiB). A job that ended before Snakemake first looked has "NA" for CPU and memory and adds only its wall time.
    Raises ValueError for a path without ``benchmarks``.
    """
    frame = pd.DataFrame([_job(Path(path)) for path in benchmarks], columns=["rule", *COST.values()])
    jobs_of_rule = frame.groupby("rule")
    cost = jobs_of_rule.agg({"wall_s": "sum", "cpu_s": "sum", "max_rss_mb": "max"})
    cost.insert(0, "jobs", jobs_of_rule.size())
    write_table(cost.reset_index(), out)


def _job(path: Path) -> dict[str, str | float]:
    _, found, rest = path.as_posix().rpartition("benchmarks/")
    if not found:
        raise ValueError(f"benchmark file {path}: expected …/benchmarks/RULE.tsv or …/benchmarks/RULE/….tsv")
    rule = rest.split("/")[0].removesuffix(".tsv")
    measured = pd.read_csv(path, sep="\t").iloc[0]
    return {"rule": rule, **{ours: float(measured[theirs]) for theirs, ours in COST.items()}}

"""Two results folders, table by table and row by row."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from dalle.verify.record import Job, Record, leaves
from dalle.verify.tolerances import allowed_across, is_trained

if TYPE_CHECKING:
    import pandas as pd

# What a row is about, by table. `cost` is of the machine, and is not compared.
KEYS = {
    "metrics": ["system", "suite", "protocol", "metric", "n_candidates", "blur", "blur_protocol", "reference"],
    "differences": [
        *("suite", "protocol", "metric", "blur", "blur_protocol", "reference"),
        *("system", "n_candidates", "other", "other_n_candidates"),
    ],
    "image_scores": ["system", "suite", "protocol", "metric", "prompt_id", "candidate"],
}
NUMBERS = ("value", "low", "high")
COUNTS = ("n", "n_reference")  # the same on every machine


@dataclass(frozen=True)
class Compared:
    """The rows of one metric of one table, in two folders."""

    table: str
    metric: str
    rows: int  # that both have
    largest: float  # difference of two values
    allowed: float  # of the pair of rows that is nearest to its limit, or farthest beyond it
    beyond: int  # pairs of rows that differ by more
    lone: int  # rows that only one of the two has


def compare(first: str | Path, second: str | Path, exact: bool) -> Iterator[Compared]:
    """Every metric of every table: ``exact`` to the last bit and column, else by the tolerances across machines.

    Across machines ``image_scores`` is compared only where both have the same pictures and the same judge.
    Raises ValueError for a folder without one of the tables.
    """
    for table, keys in KEYS.items():
        frames = [_read(folder, table) for folder in (first, second)]
        if table == "image_scores" and not exact:
            frames = [frame[~is_trained(frame)] for frame in frames]
        pairs = _pairs(*frames, keys)
        for metric, of_metric in pairs.groupby("metric"):
            yield _compared(table, str(metric), of_metric, keys, exact)


def _read(folder: str | Path, table: str) -> "pd.DataFrame":
    import pandas as pd

    path = Path(folder, "tables", f"{table}.parquet")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such table")
    frame = pd.read_parquet(path)
    return frame.assign(**{name: float("nan") for name in NUMBERS if name not in frame})


def _pairs(first: "pd.DataFrame", second: "pd.DataFrame", keys: list[str]) -> "pd.DataFrame":
    """A row for each row of either; columns that are no keys twice, ending in _a and _b; ``_merge`` says who has it."""
    return first.merge(second, how="outer", on=keys, suffixes=("_a", "_b"), indicator=True, validate="1:1")


def _compared(table: str, metric: str, pairs: "pd.DataFrame", keys: list[str], exact: bool) -> Compared:
    both = pairs[pairs["_merge"] == "both"]
    difference = _difference(both, "value")
    limit = difference * 0 if exact else allowed_across(both)
    columns = [name.removesuffix("_a") for name in both if name.endswith("_a")]
    same = [name for name in columns if name not in ("value", "experiment")] if exact else COUNTS
    others = [_difference(both, name) > 0 for name in same if name in columns]
    is_beyond = (difference > limit) | (sum(others, start=difference * 0) > 0)
    nearest = (difference - limit).idxmax() if len(both) else None
    return Compared(
        table,
        metric,
        rows=len(both),
        largest=float(difference.max()) if len(both) else 0.0,
        allowed=float(limit[nearest]) if len(both) else 0.0,
        beyond=int(is_beyond.sum()),
        lone=len(pairs) - len(both),
    )


def _difference(pairs: "pd.DataFrame", column: str) -> "pd.Series":
    """Of numbers how far they lie apart, infinitely if only one is there; of words 0 or infinity."""
    first, second = pairs[f"{column}_a"], pairs[f"{column}_b"]
    apart = (~((first == second) | (first.isna() & second.isna()))).map({True: inf, False: 0.0})
    are_numbers = first.dtype.kind in "fi" and second.dtype.kind in "fi"
    return apart.where(apart == 0, (first - second).abs().fillna(inf)) if are_numbers else apart


def other_machines(first: Record, second: Record) -> list[str]:
    """What differs between the environments and threads of the jobs that both records have: without any, one machine.

    ``commit`` is not of the machine: the code that a job ran has its own digest.
    """
    told, others = dict(_surroundings(first)), dict(_surroundings(second))
    found = {
        f"{name}: {told[job][name]} / {others[job].get(name)}": None
        for job in told.keys() & others.keys()
        for name in told[job]
        if told[job][name] != others[job].get(name)
    }
    return sorted(found)


def _surroundings(record: Record) -> Iterator[tuple[tuple[str, ...], dict]]:
    for job in record.jobs:
        environment = {name: value for name, value in record.environments[job.environment].items() if name != "commit"}
        yield _name(job), {**environment, "threads": job.threads}


def _name(job: Job) -> tuple[str, ...]:
    return job.rule, *sorted(job.wildcards.values())


def other_experiments(first: Record, second: Record) -> list[str]:
    """What differs between two records in settings, code and texts, in words."""
    then, now = dict(leaves(first.settings)), dict(leaves(second.settings))
    keys = (key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key))
    settings = [f"{key}: {then.get(key, 'not there')} / {now.get(key, 'not there')}" for key in keys]
    code = [{job.rule: job.params.get("code") for job in record.jobs} for record in (first, second)]
    rules = [
        f"code of {rule}" for rule in sorted(code[0].keys() | code[1].keys()) if code[0].get(rule) != code[1].get(rule)
    ]
    names = sorted(first.texts.keys() | second.texts.keys())
    return [*settings, *rules, *(name for name in names if first.texts.get(name) != second.texts.get(name))]

"""How fast the rules work: tokens and pictures, counted in the files they read and wrote, by the time they took."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eval.tables import read_table, write_table


class Work(NamedTuple):
    """What a rule did: so many of a unit."""

    rule: str
    unit: str
    amount: int


class Stage(NamedTuple):
    """What a trained stage takes in one update: so many examples, each of so many of a unit."""

    batch_size: int
    unit: str
    units_an_example: int = 1


def write_throughput(
    cost: str | Path,
    logs: Mapping[str, str | Path],
    stages: Mapping[str, Mapping],
    coded: Sequence[str | Path],
    candidates: Sequence[str | Path],
    out: str | Path,
) -> None:
    """Writes the table ``out``: rule, unit, amount, wall_s, per_second, for those rules in ``cost`` whose work counts.

    ``logs`` are the training logs of the ``stages`` (fields of :class:`Stage`), ``coded`` the archives that were
    encoded, ``candidates`` the archives that were drawn and scored. Time is the sum over a rule's jobs, imports and
    reading included.
    """
    done = [*_trained(logs, {name: Stage(**stage) for name, stage in stages.items()}), *_counted(coded, candidates)]
    wall = read_table(cost).set_index("rule")["wall_s"]
    rows = [{**work._asdict(), "wall_s": wall[work.rule]} for work in done if work.rule in wall.index and work.amount]
    table = pd.DataFrame(rows, columns=["rule", "unit", "amount", "wall_s"])
    write_table(table.assign(per_second=table["amount"] / table["wall_s"]), out)


def _trained(logs: Mapping[str, str | Path], stages: Mapping[str, Stage]) -> Iterator[Work]:
    for name, stage in stages.items():
        steps = pd.read_csv(logs[name], usecols=["step"])["step"]
        updates = 0 if steps.empty else int(steps.iloc[-1]) + 1  # the log counts from 0 and holds the last update
        yield Work(name, stage.unit, updates * stage.batch_size * stage.units_an_example)


def _counted(coded: Sequence[str | Path], candidates: Sequence[str | Path]) -> Iterator[Work]:
    from pyarrow.parquet import read_metadata

    yield Work("codes", "pictures", sum(read_metadata(path).num_rows for path in coded))
    drawn = sum(read_metadata(path).num_rows for path in candidates)
    yield Work("sample", "tokens", drawn * _cells(candidates[0]))
    yield Work("score", "pictures", drawn)


def _cells(candidates: str | Path) -> int:
    """Codes that a picture is made of."""
    from pyarrow.parquet import ParquetFile

    (first,) = next(ParquetFile(candidates).iter_batches(1, columns=["codes"])).column("codes").to_pylist()
    return len(first)

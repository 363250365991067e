"""What ``python -m dalle verify`` prints, and whether all is well."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dalle.verify.comparison import Compared, compare, other_experiments, other_machines
from dalle.verify.findings import (
    Finding,
    chain_findings,
    code_findings,
    config_of,
    file_findings,
    read_settings,
    settings_findings,
    text_findings,
    unrecorded,
)
from dalle.verify.lineage import way_back
from dalle.verify.record import Record, read_record


def verify_one(results: Path, config: Path | None, console: Console) -> bool:
    """Whether a results folder is what its jobs wrote and what today's code and config would make; a table if not.

    Without ``config`` the file in workflow/config of that experiment counts. Raises ValueError if there is none.
    """
    record = read_record(results)
    config = config or config_of(record.experiment)
    findings = [
        *file_findings(results, record),
        *chain_findings(record),
        *code_findings(record),
        *settings_findings(record, read_settings(config), config.name),
        *text_findings(record),
    ]
    _say_whole(record, results, console)
    if findings:
        _say_findings(findings, console)
    else:
        console.print("Nothing was changed, nothing is missing, nothing is stale.")
    return not findings


def _say_whole(record: Record, results: Path, console: Console) -> None:
    code, data = record.digests.code[:12], record.digests.data[:12]
    made = f"{len(record.jobs):,} jobs made {len(record.makers):,} files"
    console.print(f"{results}: experiment {record.experiment}, seed {record.seed}; {made}; code {code}, data {data}")
    if left := unrecorded(results, record):
        parts = ", ".join(f"{name} {number:,}" for name, number in sorted(left.items()))
        console.print(f"Files that no recorded job answers for, not looked at: {parts}")


def _say_findings(findings: Sequence[Finding], console: Console) -> None:
    table = _table("what", "where", "how")
    for finding in findings:
        table.add_row(finding.kind, Text(finding.what), Text(finding.detail))
    console.print(table)
    numbers = {kind: sum(finding.kind == kind for finding in findings) for kind in ("changed", "missing", "stale")}
    console.print(", ".join(f"{number:,} {kind}" for kind, number in numbers.items() if number))


def verify_two(first: Path, second: Path, console: Console) -> bool:
    """Whether two results folders agree, row by row; a table of all metrics.

    Exactly if their jobs ran on one machine with the same versions and threads, else by the tolerances across machines.
    """
    records = read_record(first), read_record(second)
    machines = other_machines(*records)
    _say_list("Not the same experiment", other_experiments(*records), console)
    _say_list("Not the same machine", machines, console)
    console.print("Rows must agree " + ("within the tolerances across machines" if machines else "to the last bit"))
    results = list(compare(first, second, exact=not machines))
    console.print(_compared_table(results))
    bad = sum(result.beyond + result.lone for result in results)
    rows = sum(result.rows for result in results)
    console.print(f"{bad:,} rows disagree" if bad else f"All {rows:,} rows agree")
    return not bad


def _say_list(title: str, lines: Sequence[str], console: Console) -> None:
    if lines:
        console.print(Text(f"{title}:\n  " + "\n  ".join(lines)))


def _compared_table(results: Iterable[Compared]) -> Table:
    table = _table("table", "metric", numbers=("rows", "largest difference", "allowed there", "beyond", "in one only"))
    for result in results:
        numbers = f"{result.rows:,}", f"{result.largest:.3g}", f"{result.allowed:.3g}"
        table.add_row(result.table, result.metric, *numbers, f"{result.beyond:,}", f"{result.lone:,}")
    return table


def say_way_back(results: Path, path: str, console: Console) -> bool:
    """All jobs that a file of a results folder follows from, the nearest first; True."""
    record = read_record(results)
    table = _table("made by", "code", "seed", "wrote")
    for step in way_back(record, path):
        (first, digest), *more = step.job.made.items()
        name = "· " * step.distance + " ".join([step.job.rule, *step.job.wildcards.values()])
        params, wrote = step.job.params, f"{digest[:12]} {first}" + (f" and {len(more)} more" if more else "")
        table.add_row(Text(name), str(params.get("code", "")), str(params.get("seed", "")), Text(wrote))
    console.print(table)
    places = [" ".join(f"{name} {value}" for name, value in place.items() if value) for place in record.environments]
    _say_list("Ran on", places, console)
    return True


def _table(*words: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(*words, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table

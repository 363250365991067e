"""What memory each rule takes as captions and candidates grow: ``python -m workflow.benchmarks.memory``.

The smoke experiment runs with more and more captions of suite val and candidates a caption, one core each. A rule's
peak is that of its largest job, by Snakemake's benchmark files. Takes about six minutes.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from workflow.torture.project import RESULTS, Project

SIZES = ((24, 4), (96, 8), (384, 16))  # captions, candidates a caption


def peaks(folder: Path, captions: int, candidates: int) -> pd.Series:
    """MiB by rule, of a run with so many captions and candidates."""
    project = Project.copied(folder)
    doubling = [2**power for power in range(candidates.bit_length())]
    sizes = [f"data={{val: {captions}}}", f"sampling={{n_candidates: {doubling}, block: {candidates}}}"]
    project.go_on(str(RESULTS / "tables/cost.parquet"), "--config", *sizes)
    return pd.read_parquet(folder / RESULTS / "tables/cost.parquet").set_index("rule")["max_rss_mb"]


def shown(measured: dict[tuple[int, int], pd.Series]) -> Table:
    """A row a rule, a column a size."""
    table = Table("rule", box=box.SIMPLE_HEAD, pad_edge=False, title="peak resident memory, MiB")
    for captions, candidates in measured:
        table.add_column(f"{captions} × {candidates}", justify="right")
    for rule, row in pd.DataFrame(measured).iterrows():
        table.add_row(str(rule), *(f"{value:,.0f}" for value in row))
    return table


def main() -> int:
    """The exit status."""
    options = argparse.ArgumentParser("python -m workflow.benchmarks.memory", description="What memory rules take.")
    options.add_argument("--sizes", type=int, default=len(SIZES), help="how many sizes, the smallest first")
    asked = options.parse_args()
    with TemporaryDirectory() as folder:
        measured = {size: peaks(Path(folder, str(number)), *size) for number, size in enumerate(SIZES[: asked.sizes])}
    Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(shown(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())

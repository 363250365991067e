"""``python -m workflow.torture``: the smoke experiment is killed, starved, stopped and lied to, and must end the same.

Every run's results are compared byte for byte with those of an undisturbed run: models, codes, features, tables and
figures, all but what clocks enter. Takes a quarter of an hour on two cores. ``make torture`` calls it.
"""

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter

from rich import box
from rich.console import Console
from rich.table import Table

from workflow.torture import faults
from workflow.torture.kills import killed_run
from workflow.torture.project import Project

HOSTILE = {"LC_ALL": "C", "LANG": None, "HOME": None, "XDG_CACHE_HOME": None}
PREEMPTED = ["scenes", "dvae", "clip", "prior", "sample", "features"]
ORPHANED = ["dvae", "prior", "sample"]


class Report:
    """The table fault | tries | outcome, a row as soon as it is known."""

    def __init__(self, console: Console):
        self.console, self.rows, self.start = console, [], perf_counter()

    def add(self, fault: str, tries: int, outcome: str) -> None:
        """A row; said at once, too."""
        self.rows.append((fault, str(tries), outcome))
        self.console.print(f"{perf_counter() - self.start:5.0f} s  {fault}: {tries}, {outcome}", markup=False)

    def print(self) -> None:
        """All rows."""
        table = Table("fault", "tries", "outcome", box=box.SIMPLE_HEAD, pad_edge=False)
        for row in self.rows:
            table.add_row(*row)
        self.console.print(table)


def compared(project: Project, whole: dict[str, str]) -> str:
    """'312 files as in the undisturbed run'. Raises RuntimeError that names those that are not."""
    found = project.digests()
    unlike = sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
    if unlike:
        raise RuntimeError(f"{project.folder}: {len(unlike)} files are not as in the undisturbed run: {unlike[:10]}")
    return f"{len(whole)} files as in the undisturbed run"


def hard_journey(folder: Path, whole: dict[str, str], report: Report, seed: int) -> None:
    """One run through every fault but kill -9, in a place and an environment that nobody would choose."""
    project = Project.copied(folder, extra=HOSTILE, umask=0o077)
    with faults.small_disk(folder / "results") as mounted:
        if mounted:
            report.add("disk full", 1, faults.disk_full(project))
        report.add("two runs at once", 1, faults.two_at_once(project))
        took = faults.sigterm(project, PREEMPTED, seed)
        if max(took) > 10:
            raise RuntimeError(f"SIGTERM: it took {max(took):.1f} s until all was gone")
        report.add("SIGTERM", len(took), f"gone within {max(took):.1f} s")
        if mounted:
            report.add("read-only results", 1, faults.read_only(project))
        report.add("clock goes back a day", 1, f"{faults.clock_goes_back(project)}; {compared(project, whole)}")
        report.add("folder größe-データ, locale C, no HOME, umask 077", 1, compared(project, whole))
        flipped = faults.flipped_bits(project)
        report.add("a flipped bit", len(faults.DAMAGED), f"{flipped}; {compared(project, whole)}")


def main() -> int:
    """The exit status: 0 if every fault was survived or refused as it should be, else 1 after a line that says why."""
    options = argparse.ArgumentParser("python -m workflow.torture", description="Disturbs a run in every way.")
    options.add_argument("--kills", type=int, default=30, help="kill -9 of the whole run (default: 30)")
    options.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    options.add_argument("--keep", action="store_true", help="leave the copies of the project where they are")
    asked = options.parse_args()
    place = Path(mkdtemp(prefix="torture-"))
    report = Report(Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    try:
        whole = undisturbed(place / "whole", report)
        killed = Project.copied(place / "killed")
        met = killed_run(killed, asked.kills, asked.seed)
        outcome = f"{compared(killed, whole)}; met {len(met)} rules: {', '.join(sorted(met))}"
        report.add("kill -9 of the run", asked.kills, outcome)
        left = Project.copied(place / "orphaned")
        outcome = faults.orphans(left, ORPHANED)
        report.add("kill -9 of Snakemake alone", len(ORPHANED), f"{outcome}; {compared(left, whole)}")
        hard_journey(place / "größe-データ", whole, report, asked.seed)
    except RuntimeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        report.print()
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)
    return 0


def undisturbed(folder: Path, report: Report) -> dict[str, str]:
    """The files of a run that nobody disturbs."""
    project = Project.copied(folder)
    project.go_on()
    whole = project.digests()
    report.add("none", 1, f"{len(whole)} files to compare with")
    return whole


if __name__ == "__main__":
    sys.exit(main())

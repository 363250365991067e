"""``python -m workflow.run``: Snakemake with a calm view; all of its options are allowed. ``make run`` calls it.

This process becomes Snakemake, so signals and the exit status are Snakemake's own.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dalle.joblog import QUIET

PLUGINS = Path(__file__).resolve().parent / "terminal"
LOUD = {"-n", "--dry-run", "--dryrun", "--help", "-h"}  # here Snakemake's own words are what is asked for


def missing_configfiles(arguments: Sequence[str]) -> list[str]:
    """The files that ``--configfile`` names and that are not there: for them Snakemake has a traceback."""
    named, is_taking = [], False
    for argument in arguments:
        option, _, value = argument.partition("=")
        if argument.startswith("-"):
            is_taking = option in ("--configfile", "--configfiles")
            named += [value] if is_taking and value else []
        elif is_taking:
            named.append(argument)
    return [name for name in named if not Path(name).is_file()]


def command(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """What is to run, and its environment."""
    called = [sys.executable, "-m", "snakemake", *arguments]
    if LOUD & set(arguments):
        return called, dict(os.environ)
    path = os.pathsep.join(filter(None, (str(PLUGINS), os.environ.get("PYTHONPATH"))))
    return [*called, "--logger", "calm"], os.environ | {"PYTHONPATH": path, QUIET: "1"}


def main(arguments: Sequence[str]) -> None:
    """Never comes back."""
    for name in missing_configfiles(arguments):
        allowed = ", ".join(sorted(map(str, Path("workflow", "config").glob("*.yaml"))))
        sys.exit(f"Error: --configfile {name}: there is no such file; there are {allowed}")
    called, environment = command(arguments)
    os.execve(called[0], called, environment)


if __name__ == "__main__":
    main(sys.argv[1:])

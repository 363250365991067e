"""A copy of the project in which the smoke experiment runs, is disturbed and goes on."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dalle.provenance import file_digest
from workflow.torture.copies import SMOKE, command, copy_project, environment

RESULTS = Path("results/smoke")
# Clocks and the machine enter these, and what names them.
UNLIKE = ("logs/", "benchmarks/", "tables/cost.", "tables/throughput.", "report.html", "mlflow.json", "provenance.json")
LONGEST = 600  # seconds that a whole run may take


@dataclass(frozen=True)
class Project:
    """A copy of the project in ``folder``; ``extra`` is what jobs find in their environment beside the usual."""

    folder: Path
    extra: dict[str, str | None] = field(default_factory=dict)
    umask: int = -1

    @classmethod
    def copied(cls, folder: Path, **how: Any) -> "Project":
        """A fresh copy of what git tracks or would track."""
        folder.mkdir(parents=True)
        return cls(copy_project(folder), **how)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake with its jobs, in a process group of its own. What it prints goes to ``torture.log``."""
        with open(self.folder / "torture.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                command("--rerun-incomplete", *SMOKE, *arguments),
                cwd=self.folder,
                env=self._environment(),
                umask=self.umask,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        """Snakemake, waited for."""
        given = {"cwd": self.folder, "env": self._environment(), "umask": self.umask}
        return subprocess.run(
            command(*arguments, *SMOKE), **given, capture_output=True, text=True, check=False, timeout=LONGEST
        )

    def unlock(self) -> None:
        """What a person does after a run that was killed outright."""
        self.call("--unlock")

    def go_on(self, *arguments: str) -> None:
        """Runs to the end. Raises RuntimeError with the end of what was printed if it fails."""
        ran = self.call("--rerun-incomplete", *arguments)
        if ran.returncode:
            raise RuntimeError(f"the run in {self.folder} failed: {(ran.stdout + ran.stderr)[-3000:]}")

    def rules(self) -> set[str]:
        """The rules that a whole run has jobs of."""
        said = self.call("--dry-run", "--forceall")
        return set(re.findall(r"^(?:local)?rule (\w+):$", said.stdout + said.stderr, flags=re.MULTILINE)) - {"all"}

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file of the results that neither clock nor machine enters."""
        results = self.folder / RESULTS
        named = {path.relative_to(results).as_posix(): path for path in results.rglob("*") if path.is_file()}
        return {
            name: file_digest(path)
            for name, path in sorted(named.items())
            if not name.removeprefix("seals/").startswith(UNLIKE)
        }

    def _environment(self) -> dict[str, str]:
        values = environment() | self.extra
        return {name: value for name, value in values.items() if value is not None}


def running_rules(group: subprocess.Popen) -> set[str]:
    """The rules whose scripts run now below this Snakemake."""
    rules = set()
    for process in _descendants(group.pid):
        with _unless_gone():
            scripts = [word for word in process.cmdline() if "/.snakemake/scripts/" in word]
            rules |= {Path(word).name.split(".")[1] for word in scripts}
    return rules


def wait_until(holds: Callable[[], object], group: subprocess.Popen, seconds: float = LONGEST) -> bool:
    """Whether it came true before the run ended or the time was over."""
    end = time.monotonic() + seconds
    while group.poll() is None and time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def wait_for_rule(rule: str, group: subprocess.Popen) -> bool:
    """Whether a job of the rule was at work before the run ended."""
    return wait_until(lambda: rule in running_rules(group), group)


def kill(group: subprocess.Popen) -> None:
    """kill -9 of Snakemake and all its jobs at once."""
    with _unless_gone():
        os.killpg(group.pid, signal.SIGKILL)
    group.wait()


def stop(group: subprocess.Popen) -> float:
    """SIGTERM to Snakemake alone, as from a machine that is taken away. Seconds until it and its jobs are gone."""
    family = [psutil.Process(group.pid), *_descendants(group.pid)]
    start = time.monotonic()
    group.terminate()
    group.wait(timeout=LONGEST)
    psutil.wait_procs(family, timeout=LONGEST)
    return time.monotonic() - start


def orphan(group: subprocess.Popen) -> list[psutil.Process]:
    """kill -9 of Snakemake alone. Its jobs, which know nothing of it and go on."""
    jobs = _descendants(group.pid)
    group.kill()
    group.wait()
    return jobs


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _unless_gone() -> AbstractContextManager[None]:
    return suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError)

"""What ``snakemake --logger calm`` shows: one line for a finished job, below them what is running and how far it is.

Snakemake finds packages of such a name on the path; :mod:`workflow.run` puts this folder there. Everything stands
in Snakemake's own log too, in .snakemake/log, as loud as ever.
"""

import atexit
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from logging import WARNING, LogRecord
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from dalle.training.progress import clock
from snakemake_logger_plugin_calm.pace import Pace, read_pace

SHIPPED = Path(__file__).parent  # has the pace of the default experiment on two cores, for its first run
LEARNT = Path(".snakemake/pace")  # has those of the runs in this folder
TAIL = 12  # lines of a log that tell of a failure
END = 4096  # bytes of a log in which its last lines are looked for
NEWS = re.compile(r"loss +\S+|[\d.,]+[kM]? ?[\w ]+/s\b")  # in a line of progress: what has come of it, and how fast
SHARE = re.compile(r"(\d+)/(\d+)(?= +loss)|(\d+)%")
LEFT = re.compile(r"([\d:]+) left|<([\d:]+)")


@dataclass
class Running:
    """A job that was started."""

    name: str
    log: Path | None
    started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.started


def last_lines(log: Path | None, num: int = 1) -> list[str]:
    """The last ``num`` lines of a log, as a terminal would have left them: progress bars overwrite themselves."""
    if log is None or not log.is_file():
        return []
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - END))
        text = file.read().decode("utf-8", errors="replace")
    shown = [line.rsplit("\r", 1)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return [line for line in shown if line][-num:]


def news(line: str) -> str:
    """The key numbers in a line of progress: ``loss 0.1488, 8.0 steps/s``; nothing if it is none."""
    return ", ".join(re.sub(r" +", " ", found.strip()) for found in NEWS.findall(line))


def outcome(line: str, rule: str) -> str:
    """What came of a job: what its last line says in words, ``dvae: 60 of 64 codes are in use``, or its progress."""
    return line.removeprefix(f"{rule}: ") if line.startswith(f"{rule}: ") and "%|" not in line else news(line)


def share(line: str) -> str:
    """How far a line of progress says that its job is: ``58 %``."""
    if not (found := SHARE.search(line)):
        return ""
    done, total, percent = found.groups()
    return f"{percent if percent else 100 * int(done) // int(total)} %"


def left(line: str) -> str:
    """The time left that a line of progress names: ``0:12 left``."""
    found = LEFT.search(line)
    return f"{found[1] or found[2]} left" if found else ""


def experiment_of(log: Path | None) -> str:
    """The folder in which ``logs`` lies: ``scenes`` of results/scenes/logs/prior.log; nothing if there is none."""
    return next((folder.parent.name for folder in (log.parents if log else ()) if folder.name == "logs"), "")


class LogHandler(LogHandlerBase):
    """Turns Snakemake's events into lines on standard error; in a terminal with a live view below them."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.running: dict[int, Running] = {}
        self.done = self.total = 0
        self.experiment, self.pace = "", Pace({})
        self.started = time.monotonic()
        self.live = Live(
            get_renderable=self.view,
            console=self.console,
            refresh_per_second=2,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # else what is piped on would come here
        )
        atexit.register(self.close)

    def emit(self, record: LogRecord) -> None:
        """Shows what there is to show of an event."""
        event, facts = getattr(record, "event", None), vars(record)
        if event == LogEvent.RUN_INFO:
            self.total = facts["stats"].get("total", 0)
            self.pace.left.update({rule: number for rule, number in facts["stats"].items() if rule != "total"})
            if self.console.is_terminal:
                self.live.start()
        elif event == LogEvent.JOB_INFO:
            name = " ".join([facts["rule_name"], *map(str, dict(facts["wildcards"]).values())])
            log = Path(facts["log"][0]) if facts["log"] else None
            self.running.setdefault(facts["jobid"], Running(name, log))  # it is told again when the job fails
            self.remember(experiment_of(log))
        elif event == LogEvent.JOB_FINISHED:
            self.finish(facts["job_id"])
        elif event == LogEvent.JOB_ERROR:
            self.fail(facts["jobid"])
        elif "CalledProcessError" in str(record.msg):
            pass  # that a job failed and why has been said
        elif record.levelno >= WARNING or record.msg == NOTHING_TO_BE_DONE_MSG:
            self.console.print(Text(str(record.getMessage()), "red" if record.levelno > WARNING else ""))

    def remember(self, experiment: str) -> None:
        """Once it is known whose run it is: what its rules took before."""
        if experiment and not self.experiment:
            self.experiment, left = experiment, self.pace.left
            self.pace = read_pace(folder / f"{experiment}.json" for folder in (LEARNT, SHIPPED))
            self.pace.left = left

    def finish(self, jobid: int) -> None:
        """One line: which job, how long it took, what came of it."""
        job = self.running.pop(jobid, None)
        self.done += 1
        if job is not None:
            self.pace.finish(job.name.split()[0], job.seconds())
        if job is not None and job.log is not None:  # a rule without one only gathers
            said = outcome("".join(last_lines(job.log)), job.name.split()[0])
            line = f"{self.done:>4}/{self.total}  {job.name:<36} {clock(round(job.seconds())):>7}   {said}"
            self.console.print(Text(line.rstrip()))

    def fail(self, jobid: int) -> None:
        """Which job failed, the last lines of its log, and where the log is."""
        job = self.running.pop(jobid, None)
        if job is None:  # Snakemake repeats at the end what has failed
            return
        self.console.print(Text(f"{job.name} failed after {clock(round(job.seconds()))}", "bold red"))
        for line in last_lines(job.log, TAIL):
            self.console.print(Text(f"    {line}"))
        self.console.print(Text(f"Its log: {job.log}" if job.log else "It has no log."))

    def view(self) -> Group:
        """What is running now, a line each, and how far the whole is."""
        jobs = list(self.running.values())
        rest = self.pace.time_left((job.name.split()[0], job.seconds()) for job in jobs)
        whole = f"done in {clock(round(self.wall()))}" + (
            f", about {clock(round(rest))} left" if rest is not None else ""
        )
        rows = [Text(f"{self.done:>4}/{self.total}  {whole}, running:", "dim")]
        for job in jobs:
            line = "".join(last_lines(job.log))
            parts = [f"{'':>4}{'':{len(str(self.total))}}   {job.name:<36} {clock(round(job.seconds())):>7}"]
            rows.append(Text("   ".join([*parts, *filter(None, (share(line), left(line), news(line)))]), "dim"))
        return Group(*rows)

    def wall(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def close(self) -> None:
        """The live view goes, the lines stay."""
        if self.live.is_started:
            self.live.stop()
        if self.experiment:
            with suppress(OSError):  # a full disk has been said, and a guess is not worth a word
                self.pace.save(LEARNT / f"{self.experiment}.json", self.wall())
        super().close()

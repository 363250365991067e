"""The way back from a file to everything that made it."""

from collections.abc import Iterator
from dataclasses import dataclass

from dalle.verify.record import Job, Record


@dataclass(frozen=True)
class Step:
    """A job on the way back, and how many jobs it stands before the file."""

    job: Job
    distance: int


def way_back(record: Record, path: str) -> Iterator[Step]:
    """The job that made ``path``, then those whose files it read, and so on, each once, at its shortest distance.

    Raises ValueError for a file that no job of the record made.
    """
    makers = record.makers
    if path not in makers:
        raise ValueError(f"{path}: no job of {record.experiment} made it; for example {min(makers)} was made by one")
    seen, current, distance = [], [makers[path]], 0
    while current:
        yield from (Step(job, distance) for job in current)
        seen, distance, before = seen + current, distance + 1, []
        for job in (makers[file] for step in current for file in step.read if file in makers):
            if job not in seen + before:
                before.append(job)
        current = before

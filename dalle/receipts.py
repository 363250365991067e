"""The receipt of a job of the workflow: what it read and made, by which settings and code, and where.

It lies beside the job's log, written when the job has sealed what it made (:mod:`dalle.seals`), whose digests it has.
"""

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from dalle.provenance import atomic, digest_of, run_facts
from dalle.seals import sealed_digest

# Snakemake writes these when a job has ended, so they have no seal.
BENCHMARKS = "benchmarks/"


class Job(Protocol):
    """What a script knows of its job: Snakemake's object ``snakemake``."""

    rule: str
    log: list[str]
    input: Iterable[str]
    output: Iterable[str]
    wildcards: Any  # has items()
    params: Any  # has items()
    threads: int


def receipt_beside(log: str | Path) -> Path:
    """The place of the receipt of a job with that log: the same name, ending in .json."""
    return Path(log).with_suffix(".json")


def write_receipt(job: Job, results: str | Path, made: dict[str, str]) -> None:
    """Write the receipt of a job that has sealed the files ``made``: their digests, by path.

    Paths are relative to ``results``; what is not below it stays as the job was given it. ``read`` has the digests by
    which inputs were sealed, ``given`` those of inputs without a seal: no job of the folder answers for them.
    """
    sealed = {path: sealed_digest(path, results) for path in job.input}
    receipt = {
        "finished": datetime.now(UTC).isoformat(timespec="microseconds"),
        "rule": job.rule,
        "wildcards": dict(job.wildcards.items()),
        "params": dict(job.params.items()),
        "threads": job.threads,
        "environment": environment(),
        "read": {_within(results, path): digest for path, digest in sealed.items() if digest},
        "given": {_within(results, path): digest_of(path) for path, digest in sealed.items() if not digest},
        "made": made,
    }
    with atomic(receipt_beside(job.log[0])) as temporary:
        temporary.write_text(json.dumps(receipt, indent=1, default=str) + "\n", encoding="utf-8")


def environment() -> dict[str, str | int | None]:
    """What ran, and on what: versions, commit, processor, its threads, the instructions torch uses, and the GPU.

    The last two are None in a process that has not imported torch: importing it would take longer than many a job.
    """
    torch = sys.modules.get("torch")
    return {
        **run_facts(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "instructions": torch and torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
    }


def read_receipts(results: str | Path) -> dict[str, Mapping[str, Any]]:
    """The receipts of a results folder by the path, relative to it, of every file they answer for.

    Of several that say they made a file, as after a rule has got another name, the last one stands.
    """
    places = Path(results, "logs").rglob("*.json")
    receipts = [json.loads(place.read_text(encoding="utf-8")) for place in places]
    in_time = sorted(receipts, key=lambda receipt: receipt["finished"])
    return {path: receipt for receipt in in_time for path in receipt["made"]}


def _within(results: str | Path, path: str) -> str:
    return Path(path).relative_to(results).as_posix() if Path(path).is_relative_to(results) else Path(path).as_posix()


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

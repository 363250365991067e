"""Faults that a run meets on its way, each of which it must survive or refuse in clear words."""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workflow.torture.project import RESULTS, Project, orphan, running_rules, stop, wait_for_rule, wait_until

DAY = 86_400
SMALL, LARGE = "300k", "200m"  # a disk that the smoke experiment fills in its first job, and one that it does not
# A file of each kind, and one that is made from it.
DAMAGED = {
    "data/train.parquet": "tokenizer/tokenizer.json",
    "tokenizer/tokenizer.json": "prior/weights.safetensors",
    "codes/train.npy": "prior/weights.safetensors",
    "dvae/weights.safetensors": "systems/dvae/val.parquet",
    "candidates/val/0/0.parquet": "scores/val/0/0.parquet",
    "features/fid.imagenet-lite@1/real/val/blur0.safetensors": "tables/metrics.parquet",
    "tables/metrics.parquet": "headline.txt",
}


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of its own at ``folder``, of size SMALL; False where nobody may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = _mount("-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disk_full(project: Project) -> str:
    """The run ends and says so; the disk is made larger."""
    said = _must_fail(project)
    if "No space left" not in said:
        raise RuntimeError(f"a full disk is not named: {said[-1500:]}")
    if leftovers := _hidden(project):
        raise RuntimeError(f"half-written files are left: {leftovers}")
    _mount("-o", f"remount,size={LARGE}", str(project.folder / "results"))
    return "says “No space left on device”, leaves nothing half-written"


def read_only(project: Project) -> str:
    """The run ends and says so; the disk is made writable again."""
    disk = str(project.folder / "results")
    _mount("-o", "remount,ro", disk)
    said = _must_fail(project)
    _mount("-o", f"remount,rw,size={LARGE}", disk)
    if "Read-only file system" not in said:
        raise RuntimeError(f"a read-only disk is not named: {said[-1500:]}")
    return "says “Read-only file system”"


def two_at_once(project: Project) -> str:
    """While a run is under way a second one is refused; the first one does not notice."""
    group = project.start()
    wait_until(lambda: running_rules(group), group)
    said = _must_fail(project)
    if "Directory cannot be locked" not in said:
        raise RuntimeError(f"the second run is not refused in clear words: {said[-1500:]}")
    if group.poll() is not None:
        raise RuntimeError("the first run ended with the second")
    stop(group)
    return "the second is refused: “Directory cannot be locked”"


def sigterm(project: Project, rules: list[str], seed: int) -> list[float]:
    """SIGTERM while each of these rules is at work: the seconds until everything was gone."""
    rng, took = random.Random(seed), []
    for rule in rules:
        group = project.start()
        if wait_for_rule(rule, group):
            time.sleep(rng.uniform(1, 6))
        if group.poll() is None:
            took.append(stop(group))
    return took


def orphans(project: Project, rules: list[str]) -> str:
    """Snakemake alone is killed while each of these rules is at work, and started again beside the jobs left over."""
    left = 0
    for rule in rules:
        group = project.start()
        wait_for_rule(rule, group)
        jobs = orphan(group)
        left += sum(job.is_running() for job in jobs)
        project.unlock()
    project.go_on()
    psutil.wait_procs(jobs, timeout=120)
    return f"{left} processes went on beside the new run"


def clock_goes_back(project: Project) -> str:
    """All that is there is of tomorrow: the run ends and says so. Once the files are touched it goes on."""
    for path in _files(project):
        os.utime(path, (time.time() + DAY, time.time() + DAY))
    said = _must_fail(project)
    if "clock skew" not in said:
        raise RuntimeError(f"a clock that went back is not named: {said[-1500:]}")
    for path in _files(project):
        path.touch()
    project.go_on()
    return "says “clock skew”; goes on once the files of tomorrow are touched"


def flipped_bits(project: Project) -> str:
    """A bit of a file of each kind, its time as before: named by the next job that reads it, and made anew."""
    results = project.folder / RESULTS
    for name, made in DAMAGED.items():
        flip(results / name)
        (results / made).unlink()
        said = _must_fail(project, str(RESULTS / made))  # asked for by name: Snakemake misses nothing else in between
        if f"{name} is not what its job made" not in said:
            raise RuntimeError(f"a flipped bit in {name} is not named: {said[-1500:]}")
        (results / name).unlink()
        project.go_on(str(RESULTS / made))
    project.go_on()
    return "each named, refused, and rebuilt after its deletion"


def flip(path: Path) -> None:
    """Turns one bit in the middle of a file and leaves its time as it was."""
    data, times = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _must_fail(project: Project, *targets: str) -> str:
    """What a run says that ends in failure."""
    ran = project.call("--rerun-incomplete", *targets)
    if not ran.returncode:
        raise RuntimeError("the run did not fail")
    return ran.stdout + ran.stderr


def _files(project: Project) -> list[Path]:
    return [path for path in (project.folder / RESULTS).rglob("*") if path.is_file()]


def _hidden(project: Project) -> list[str]:
    return [str(path) for path in _files(project) if path.name.startswith(".")]


def _mount(*arguments: str) -> bool:
    try:
        return not subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False

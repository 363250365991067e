"""What a training step costs: ours, a twin of ours with dense attention, and DALLE-pytorch.

``make bench-train`` prints the table. All sides have the same numbers of parameters, of positions and of codes, the
same batch, random weights, fused AdamW, the same threads, and a process of their own. They take their steps in turn,
so that other work on the machine slows all of them; a step's time is the median, and memory is the process's peak.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dalle.models.transformer import Shape
from dalle.provenance import ROOT

OURS, PYTORCH = "ours", "DALLE-pytorch"


PRIOR = Shape(384, 6, 8, 11, text_context=256, text_vocab=4096, grid=32, codes=8192)
TINY = Shape(32, 2, 4, 3, text_context=8, text_vocab=64, grid=8, codes=64)
DVAES = {
    "patches": {"side": 64, "shape": {"codes": 8192, "width": 160}},
    "published": {"side": 64, "shape": {"codes": 8192, "width": 256}},
}
TINY_DVAES = {
    "patches": {"side": 32, "shape": {"codes": 64, "width": 8}},
    "published": {"side": 32, "shape": {"codes": 64, "width": 8}},
}
GOAL = 2  # times as fast as DALLE-pytorch


@dataclass(frozen=True)
class Side:
    """Who trains, and what its process is given. Of one ``race`` all are compared with the first, ours."""

    race: str
    name: str
    given: dict[str, Any]


@dataclass(frozen=True)
class Taken:
    """Seconds of each step, peak memory in MiB, and how large the model is."""

    seconds: tuple[float, ...]
    peak: float
    parameters: int

    @property
    def step(self) -> float:
        return median(self.seconds)


def prior_sides(shape: Shape, batch: int, precision: str) -> list[Side]:
    """In bfloat16 the best of each."""
    race = f"prior, {precision}"
    given = {"model": "prior", "shape": asdict(shape), "batch": batch, "precision": precision}
    best = [Side(race, OURS, {**given, "attention": "windows"}), Side(race, PYTORCH, {**given, "defaults": False})]
    others = [
        Side(race, "ours, dense attention", {**given, "attention": "dense"}),
        Side(race, "DALLE-pytorch's defaults", {**given, "defaults": True}),
    ]
    return best if precision == "bf16" else best + others


def dvae_sides(model: str, given: dict[str, Any], batch: int) -> list[Side]:
    race = f"dVAE, {model}"
    given = {"model": model, "batch": batch, "precision": "float32", **given}
    return [Side(race, OURS, given), Side(race, PYTORCH, given)]


class Trainer:
    """A process that takes steps. Raises ValueError with its last words if it ends before it should."""

    def __init__(self, side: Side, python: str, threads: int, parameters: int | None) -> None:
        self.seconds: list[float] = []
        self.python = sys.executable if side.name.startswith(OURS) else python
        module = "training_ours" if side.name.startswith(OURS) else "training_dalle_pytorch"
        self.process = subprocess.Popen(
            [self.python, "-m", f"workflow.benchmarks.{module}"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.parameters = int(self._ask(json.dumps({**side.given, "threads": threads, "parameters": parameters})))

    def step(self) -> None:
        self.seconds.append(float(self._ask("")))

    def finish(self) -> Taken:
        self.process.stdin.close()
        return Taken(tuple(self.seconds), float(self._answer()), self.parameters)

    def _ask(self, line: str) -> str:
        with suppress(BrokenPipeError):  # what it said last is read below
            print(line, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        if answer := self.process.stdout.readline():
            return answer
        words = self.process.stderr.read().strip().splitlines() or [f"exit status {self.process.wait()}"]
        raise ValueError(f"{self.python} cannot train: {words[-1]}")


def race(sides: list[Side], python: str, steps: int, threads: int) -> dict[str, Taken]:
    """All take a step, and then all the next one."""
    trainers: dict[str, Trainer] = {}
    try:
        for side in sides:
            size = trainers[sides[0].name].parameters if trainers else None
            trainers[side.name] = Trainer(side, python, threads, size)
        for _ in range(steps):
            for trainer in trainers.values():
                trainer.step()
        return {name: trainer.finish() for name, trainer in trainers.items()}
    finally:
        for trainer in trainers.values():
            trainer.process.kill()


def table_of(found: dict[str, dict[str, Taken]]) -> Table:
    """A row for each side."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "", "parameters, M", "step, s", "ours is", "peak, MiB"):
        table.add_column(heading, no_wrap=True, justify="right" if heading else "left")
    for name, taken in found.items():
        for who, one in taken.items():
            faster = "" if who == OURS else f"{one.step / taken[OURS].step:.2f}×"
            numbers = f"{one.parameters / 1e6:.1f}", f"{one.step:.3g}", faster, f"{one.peak:,.0f}"
            table.add_row(name, who, *numbers)
    return table


def notes(found: dict[str, dict[str, Taken]]) -> Iterator[str]:
    """Whether the goals are reached."""
    for name, taken in found.items():
        if PYTORCH not in taken:
            continue
        faster, smaller = taken[PYTORCH].step / taken[OURS].step, taken[PYTORCH].peak / taken[OURS].peak
        word = "reached" if faster >= GOAL and smaller > 1 else "MISSED"
        yield f"Goal, {name}: {GOAL}× {PYTORCH} and less memory: {faster:.2f}×, 1/{smaller:.2f} of its peak, {word}."


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser("python -m workflow.benchmarks.training", description=__doc__.splitlines()[0])
    add = options.add_argument
    add("--dalle-pytorch", metavar="PYTHON", help="an interpreter whose environment has dalle-pytorch 1.6.6")
    add("--batch", type=int, default=2, help="pairs of the prior's step; a dVAE's has twice as many pictures")
    add("--steps", type=int, default=5, help="timed steps of each side, after one that is not")
    add("--threads", type=int, default=1, help="default: 1, as a job of the workflow has")
    add("--quick", action="store_true", help="tiny models")
    return options


def main() -> int:
    """The exit status: 0, or 1 if a side cannot be run."""
    asked = parser().parse_args()
    shape, dvaes = (TINY, TINY_DVAES) if asked.quick else (PRIOR, DVAES)
    races = [prior_sides(shape, asked.batch, precision) for precision in ("float32", "bf16")]
    races += [dvae_sides(model, given, 2 * asked.batch) for model, given in dvaes.items()]
    found = {}
    try:
        for sides in races:
            able = [side for side in sides if asked.dalle_pytorch or side.name.startswith(OURS)]
            name, taken = sides[0].race, race(able, asked.dalle_pytorch, asked.steps, asked.threads)
            found[name] = taken
            steps = ", ".join(f"{who} {one.step:.3g} s" for who, one in taken.items())
            print(f"{name}: {steps}", file=sys.stderr, flush=True)  # the table comes after minutes
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table_of(found))
    for note in notes(found):
        console.print(note, soft_wrap=True)
    if not asked.dalle_pytorch:
        print("DALLE-pytorch is left out: --dalle-pytorch PYTHON names a Python that has it (docs/performance.md).")
    return 0


if __name__ == "__main__":
    sys.exit(main())

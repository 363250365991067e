"""What drawing candidates costs: our decoder, a plain decode of our own weights, and DALLE-pytorch.

``make bench-sampling`` prints the table. All have the same numbers of parameters, of positions and of codes, random
weights, the same threads, and a process of their own. A picture of the large shape takes minutes, so by default some
hundred steps are timed, in short runs spread evenly over the cells, and scaled up to all of them.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from time import perf_counter

from rich import box
from rich.console import Console
from rich.table import Table

from dalle.models.transformer import Shape

SHAPES = {
    "small": Shape(256, 4, 4, 11, text_context=64, text_vocab=4096, grid=16, codes=1024),
    "large": Shape(512, 8, 8, 11, text_context=256, text_vocab=16_384, grid=32, codes=8192),
}
QUICK = {"tiny": Shape(64, 2, 4, 5, text_context=8, text_vocab=64, grid=8, codes=64)}
RUN = 8  # neighbouring steps that are timed together; their median counts, the first warms up
OURS, FULL, PYTORCH = "ours", "full cache", "DALLE-pytorch"
GOALS = {FULL: 2, PYTORCH: 10}


@dataclass(frozen=True)
class Taken:
    """What a batch takes: seconds of the prefill and of a mean step, peak memory in MiB; and how large the model is."""

    prefill: float
    step: float
    peak: float
    parameters: int

    def picture(self, shape: Shape) -> float:
        """Seconds until the first batch of pictures is there."""
        return self.prefill + shape.cells * self.step


@dataclass(frozen=True)
class Machine:
    """What it can do on these threads: multiply (float32, operations a second), and read memory (bytes a second)."""

    operations: float
    bytes: float


def runs_of(shape: Shape, steps: int) -> list[list[int]]:
    """Runs of neighbouring cells, ``steps`` in all, spread evenly; all cells if there are no more."""
    num = min(max(1, steps // RUN), (shape.cells - 1) // RUN)
    starts = [round(place * (shape.cells - 1 - RUN) / max(1, num - 1)) for place in range(num)]
    return [list(range(start, start + RUN)) for start in starts]


def mean_step(seconds: Sequence[Sequence[float]]) -> float:
    """Over runs, the median of each without its first step."""
    return fmean(median(run[1:]) for run in seconds)


def in_own_process(measure: Callable, *given: object, threads: int) -> object:
    """A measurement where no other has left memory behind."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # libraries read it when they are loaded
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *given).result()


def our_decode(shape: Shape, rows: int, steps: int, who: str) -> Taken:
    """Ours is asked for what a user is: whole tiles of candidates, however few are wanted."""
    import resource

    import torch

    from dalle.models.transformer import Transformer
    from dalle.sampling.decode import Decoder
    from dalle.sampling.draw import draw_token, probabilities
    from dalle.sampling.slots import TILE
    from workflow.benchmarks.full_cache import FullCacheDecoder

    torch.manual_seed(0)
    rows = max(rows, TILE) if who == OURS else rows
    model, seconds = Transformer(shape).eval(), []
    with torch.inference_mode():
        decoder = {OURS: Decoder, FULL: FullCacheDecoder}[who](model, 1, rows)
        start = perf_counter()
        decoder.prefill(torch.randint(shape.text_vocab, (1, shape.text_context)))
        prefill = perf_counter() - start
        codes, chance = torch.randint(shape.codes, (rows,)), torch.rand(rows, dtype=torch.float64)
        for run in runs_of(shape, steps):
            seconds.append([])
            for cell in run:
                start = perf_counter()
                decoder.put(cell, codes)
                codes = draw_token(probabilities(decoder.logits()), chance)
                seconds[-1].append(perf_counter() - start)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return Taken(prefill, mean_step(seconds), peak, sum(value.numel() for value in model.parameters()))


def dalle_pytorch(python: str, shape: Shape, rows: int, steps: int, threads: int) -> Taken:
    """The same for DALLE-pytorch, by the Python that has it."""
    asked = {**asdict(shape), "rows": rows, "threads": threads, "runs": runs_of(shape, steps)}
    script = Path(__file__).with_name("dalle_pytorch_steps.py")
    ran = subprocess.run([python, script], input=json.dumps(asked), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ValueError(f"{python} cannot run dalle-pytorch: {ran.stderr.strip().splitlines()[-1]}")
    found = json.loads(ran.stdout)
    return Taken(found["prefill"], mean_step(found["seconds"]), found["peak"], found["parameters"])


def machine() -> Machine:
    """Measured: a product of matrices of 1,024 rows and columns, and a sum over 512 MiB."""
    import torch

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(8):
            start = perf_counter()
            work()
            times.append(perf_counter() - start)
        return min(times)

    square, long = torch.rand(1024, 1024), torch.ones(2**27)
    return Machine(2 * 1024**3 / best(lambda: square @ square), 4 * long.numel() / best(long.sum))


def step_needs(shape: Shape, rows: int, who: str) -> Machine:
    """Operations and bytes of a mean step: the matrices once, and what attention reads."""
    from dalle.models.attention import cell_mask, layer_kinds

    matrices = 12 * shape.width**2 * shape.depth + shape.width * shape.codes
    if who == OURS:
        kinds = layer_kinds(shape.depth)
        seen = sum(cell_mask(kind, shape.grid, shape.conv_kernel).sum(1).float().mean().item() for kind in kinds)
        own, shared = seen, shape.depth * shape.prefix
    else:
        own, shared = shape.depth * (shape.prefix + shape.cells), 0
    read = matrices + 2 * shape.width * (rows * own + shared)
    return Machine(2 * rows * (matrices + 2 * shape.width * (own + shared)), 4 * read)


def table_of(found: dict[tuple[str, int, str], Taken], shapes: dict[str, Shape], able: Machine) -> Table:
    """A row for each shape, batch and decoder."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = ("shape", "batch", "", "tokens/s", "ours is", "first, s", "peak, MiB", "of matrix rate", "of bandwidth")
    for heading in headings:
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("shape", "") else "right")
    for (name, batch, who), taken in found.items():
        ratio = taken.step / found[name, batch, OURS].step
        shares = ("", "")
        if who != PYTORCH:
            needs = step_needs(shapes[name], batch, who)
            shares = (needs.operations / taken.step / able.operations, needs.bytes / taken.step / able.bytes)
            shares = tuple(f"{share:.0%}" for share in shares)
        numbers = (
            f"{batch / taken.step:,.0f}",
            "" if who == OURS else f"{ratio:.1f}×",
            f"{taken.picture(shapes[name]):,.1f}",
        )
        table.add_row(name, str(batch), who, *numbers, f"{taken.peak:,.0f}", *shares)
    return table


def notes(found: dict[tuple[str, int, str], Taken], steps: int, able: Machine, python: str | None) -> Iterator[str]:
    """What the table does not say."""
    yield f"The machine, measured: {able.operations / 1e9:,.0f} GFLOP/s, {able.bytes / 1e9:,.1f} GB/s read."
    yield f"Timed: up to {steps} steps spread over the cells, scaled up. First: seconds to the first batch of pictures."
    for name, who in sorted({(name, who) for name, _, who in found}):
        parameters = next(taken.parameters for key, taken in found.items() if key[0] == name and key[2] == who)
        yield f"Parameters, {name}, {who}: {parameters / 1e6:.1f} million."
    if python is None:
        yield "DALLE-pytorch is left out: --dalle-pytorch PYTHON names a Python that has it (docs/performance.md)."
    largest = max(batch for _, batch, _ in found)
    for (name, batch, who), taken in found.items():
        if name in SHAPES and batch == largest and who in GOALS:
            ratio = taken.step / found[name, batch, OURS].step
            word = "reached" if ratio >= GOALS[who] else "MISSED"
            yield f"Goal at batch {batch}, {name}: {GOALS[who]}× {who}: {ratio:.1f}×, {word}."


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser("python -m workflow.benchmarks.sampling", description=__doc__.splitlines()[0])
    add = options.add_argument
    add("--dalle-pytorch", metavar="PYTHON", help="an interpreter whose environment has dalle-pytorch 1.6.6")
    add("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="default: both")
    add("--batches", type=int, nargs="+", metavar="N", help="default: 1 16 64")
    add("--steps", type=int, metavar="K", help="how many steps of a picture are timed (default: 128)")
    add("--threads", type=int, default=1, help="default: 1, as a job of the workflow has")
    add("--quick", action="store_true", help="a tiny shape, batches 1 and 16, 16 steps")
    return options


def main() -> int:
    """The exit status: 0, or 1 if DALLE-pytorch cannot be run."""
    asked = parser().parse_args()
    shapes = QUICK if asked.quick else {name: SHAPES[name] for name in asked.shapes}
    batches, steps = (
        asked.batches or ([1, 16] if asked.quick else [1, 16, 64]),
        asked.steps or (16 if asked.quick else 128),
    )
    found = {}
    try:
        if asked.dalle_pytorch:
            dalle_pytorch(asked.dalle_pytorch, QUICK["tiny"], 1, RUN, asked.threads)  # better now than in ten minutes
        able = in_own_process(machine, threads=asked.threads)
        for name, shape in shapes.items():
            for batch in batches:
                for who in (OURS, FULL):
                    taken = in_own_process(our_decode, shape, batch, steps, who, threads=asked.threads)
                    found[name, batch, who] = taken
                if asked.dalle_pytorch:
                    taken = dalle_pytorch(asked.dalle_pytorch, shape, batch, steps, asked.threads)
                    found[name, batch, PYTORCH] = taken
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table_of(found, shapes, able))
    for note in notes(found, steps, able, asked.dalle_pytorch):
        console.print(note, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

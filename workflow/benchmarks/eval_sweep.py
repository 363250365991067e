"""What Figure 9 costs: our sweep, and the same numbers by one call of torch-fidelity for each point (a cell).

``make bench-eval`` prints both. Both run the same network on one thread, each in a process of its own. Ours starts from
pixels: its time includes the archives (PNG), the blur, the feature store, and FID and IS of every cell. torch-fidelity
finds folders of blurred PNG files; writing them is not counted, and its four loading processes come on top.
"""

import argparse
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import get_context, set_start_method
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from eval.protocols.protocol import BlurProtocol, FidProtocol, IsProtocol, load_protocol
from workflow.benchmarks.figure9 import RADII, REFERENCES, Cell, Figure, Picture

FID, IS = load_protocol("fid.imagenet-lite@1", FidProtocol), load_protocol("is.imagenet-lite@1", IsProtocol)
BLUR = load_protocol("blur.pil@1", BlurProtocol)
REPLICATES = 200  # of the bootstrap: the workflow's default
# Relative. With fewer pictures than dimensions torch-fidelity's smallest eigenvalues are noise, which costs up to 5e-7
# here; on full rank the two agree to 1e-6 and better (tests/test_rerank_curve.py).
TOLERANCE = 1e-5


class Judged(NamedTuple):
    fid: float
    inception_score: float


@dataclass
class Run:
    """What one side found, and what it took: seconds of each part, and the process's peak memory in MiB."""

    values: dict[Cell, Judged] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    pictures: int = 0  # through the network, repetitions counted
    peak: float = 0

    @property
    def together(self) -> float:
        return sum(self.seconds[part] for part in ("extraction", "arithmetic", "judging"))

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[part] += perf_counter() - start


def in_own_process(side: Callable[..., Run], *given: Any) -> Run:
    """A side's run on one thread, where no other has left memory behind."""
    os.environ["OMP_NUM_THREADS"] = "1"  # libraries read it when they are loaded
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_run, side, *given).result()


def _run(side: Callable[..., Run], *given: Any) -> Run:
    import resource

    set_start_method(None, force=True)  # a spawned process would spawn torch-fidelity's loaders too: ten times slower
    with TemporaryDirectory() as folder:
        run = side(Path(folder), *given)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    run.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return run


def ours(root: Path, figure: Figure, with_intervals: Sequence[Cell]) -> Run:
    """All cells: a distinct winner is looked at once a radius. Some cells once more, with their intervals."""
    from dalle.images import archive_writer
    from eval.extractors import load_extractor
    from eval.features import write_features

    run, extractor = Run(), load_extractor(FID)
    shown = {"winners": figure.distinct_winners(), "reference": figure.reference()}
    pictures = {source: figure.draw(rows) for source, rows in shown.items()}
    with run.clock("extraction"):
        for source, rows in shown.items():
            with archive_writer(root / f"{source}.parquet") as append:
                append(rows.assign(caption="", scene=""), pictures[source])
        for radius, source in product(figure.radii, shown):
            archive, out = root / f"{source}.parquet", root / f"{source}{radius:g}.safetensors"
            write_features(archive, out, extractor, BLUR, radius, root / "store")
    run.pictures = len(figure.radii) * sum(map(len, shown.values()))
    with run.clock("arithmetic"):
        for radius in figure.radii:
            run.values |= judge(root, figure, radius)
    for cell in with_intervals:
        judge_with_interval(root, figure, cell, run)
    return run


def judge(root: Path, figure: Figure, radius: float) -> dict[Cell, Judged]:
    """The values of a radius's cells, from features."""
    from eval.features import read_features
    from eval.metrics.frechet import FrechetReference, distance
    from eval.metrics.inception_score import inception_score
    from eval.shown import rows_of

    winners, others = (read_features(root / f"{source}{radius:g}.safetensors") for source in ("winners", "reference"))
    rows = {n: rows_of(winners, figure.winners(n)) for n in figure.numbers}
    scores = {n: inception_score(winners.logits[rows[n]], IS.splits, IS.shuffle_seed)[0] for n in rows}
    values = {}
    for name in REFERENCES:
        reference = FrechetReference.of(others.features[: len(figure.reference(name))])
        projected = reference.project(winners.features)
        values |= {Cell(radius, name, n): Judged(distance(projected.take(rows[n]), reference), scores[n]) for n in rows}
    return values


def judge_with_interval(root: Path, figure: Figure, cell: Cell, run: Run) -> None:
    """Clocks the two rows of the metrics table: values with their intervals over prompts."""
    from eval.features import read_features
    from eval.registry import METRICS, Comparison, Reference
    from eval.shown import rows_of
    from eval.stats import draw_counts

    files = (root / f"{source}{cell.radius:g}.safetensors" for source in ("winners", "reference"))
    winners, others = map(read_features, files)
    rows = rows_of(winners, figure.winners(cell.n))
    reference = Reference(others.features[: len(figure.reference(cell.reference))], FID)
    comparison, counts = Comparison(winners.features[rows], reference), draw_counts(len(rows), REPLICATES, seed=0)
    with run.clock("FID with interval"):
        METRICS["fid"].compute(comparison, counts)
    with run.clock("IS with interval"):
        METRICS["inception_score"].compute(winners.logits[rows], IS, counts)


def theirs(root: Path, figure: Figure, cells: Sequence[Cell]) -> Run:
    """Some cells, each by a call of torch-fidelity on two folders, with its defaults."""
    import torch_fidelity

    from eval.extractors import load_extractor
    from workflow.benchmarks.fidelity import register

    warnings.filterwarnings("ignore", "This DataLoader will create 4 worker")  # on fewer than four cores
    run, name = Run(), register(load_extractor(FID))
    for cell in cells:
        shown = {"input1": figure.winners(cell.n), "input2": figure.reference(cell.reference)}
        folders = {side: root / str(cell) / side for side in shown}
        for side, rows in shown.items():
            write_folder(folders[side], figure.draw(rows), cell.radius)
        given = {side: str(folder) for side, folder in folders.items()} | {"feature_extractor": name, "cache": False}
        with run.clock("judging"):
            found = torch_fidelity.calculate_metrics(**given, fid=True, isc=True, cuda=False, verbose=False)
        run.values[cell] = Judged(found["frechet_inception_distance"], found["inception_score_mean"])
        run.pictures += sum(map(len, shown.values()))
    return run


def write_folder(folder: Path, pictures: list[Picture], radius: float) -> None:
    """Blurred PNG files, named in the order of the captions."""
    from PIL import Image

    from eval.blur import blur

    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(blur(picture, radius, BLUR)).save(folder / f"{number:06}.png")


def largest_differences(run: Run, fidelity: Run) -> Judged:
    """Of either value in the cells that both sides judged, relative to torch-fidelity's."""
    pairs = np.array([(run.values[cell], fidelity.values[cell]) for cell in fidelity.values])
    return Judged(*np.abs(pairs[:, 0] / pairs[:, 1] - 1).max(axis=0))


def table_of(runs: dict[Figure, Run], fidelity: Run, scale: float) -> Table:
    """A row for each run of ours, and below the first torch-fidelity's, scaled up to all cells."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "captions", "pictures seen", "extraction, s", "arithmetic, s", "together, s", "peak, MiB"):
        table.add_column(heading, no_wrap=True, justify="right" if heading else "left")
    for place, (figure, run) in enumerate(runs.items()):
        captions, parts = f"{figure.captions:,}", [run.seconds["extraction"], run.seconds["arithmetic"], run.together]
        table.add_row("ours", captions, f"{run.pictures:,}", *(f"{part:,.1f}" for part in parts), f"{run.peak:,.0f}")
        if place == 0:
            seen, seconds = f"{scale * fidelity.pictures:,.0f}", f"{scale * fidelity.together:,.1f}"
            table.add_row("torch-fidelity", captions, seen, "", "", seconds, f"{fidelity.peak:,.0f}")
    return table


def notes(runs: dict[Figure, Run], fidelity: Run, scale: float) -> Iterator[str]:
    """What the table does not say."""
    run = next(iter(runs.values()))
    timed, ratio = f"{len(fidelity.values)} of {len(run.values)} cells", scale * fidelity.together / run.together
    yield f"Ratio: torch-fidelity takes {ratio:.1f} times as long (timed: {timed}, × {scale:.3g})."
    sizes = sorted((figure.captions, other.together) for figure, other in runs.items())
    if len(sizes) > 1:
        captions, seconds = np.divide(sizes[-1], sizes[0])
        yield f"Growth: {captions:.3g} times as many captions take {seconds:.3g} times as long."
    fid, score = scale * run.seconds["FID with interval"], scale * run.seconds["IS with interval"] / len(REFERENCES)
    yield f"Intervals: with {REPLICATES} resamples FID takes {fid:,.1f} s and IS {score:,.1f} s, by the same cells."
    fid, score = largest_differences(run, fidelity)
    yield f"Values: in these cells they differ by at most {fid:.0e} (FID) and {score:.0e} (IS) of themselves."


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser("python -m workflow.benchmarks.eval_sweep", description="What Figure 9 costs.")
    add = options.add_argument
    add("--captions", type=int, nargs="+", metavar="N", help="default: 1000 500 2000; torch-fidelity takes the first")
    add("--cells", metavar="K", help="how many cells torch-fidelity judges, spread evenly, or all (default: 6)")
    add("--quick", action="store_true", help="16 candidates, 2 radii; by default 40 captions, 2 cells")
    return options


def work_of(asked: argparse.Namespace) -> tuple[list[Figure], list[Cell]]:
    """The figures, and the first one's cells for torch-fidelity. Raises ValueError for what cannot be judged."""
    sizes, cells, *shape = ([40], "2", 16, (0, 2)) if asked.quick else ([1000, 500, 2000], "6", 512, RADII)
    figures = [Figure(captions, *shape) for captions in asked.captions or sizes]
    if (fewest := min(figure.captions for figure in figures)) < IS.splits:
        raise ValueError(f"{fewest} captions: allowed are numbers from {IS.splits} on, one for each split of {IS.name}")
    return figures, figures[0].spread(asked.cells or cells)


def main() -> int:
    """The exit status: 0, or 1 if the values differ or the options cannot be."""
    try:
        figures, cells = work_of(parser().parse_args())
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    runs = {figure: in_own_process(ours, figure, cells) for figure in figures}
    fidelity, scale = in_own_process(theirs, figures[0], cells), len(figures[0].cells) / len(cells)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table_of(runs, fidelity, scale))
    for note in notes(runs, fidelity, scale):
        console.print(note, soft_wrap=True)
    if not all(difference <= TOLERANCE for difference in largest_differences(runs[figures[0]], fidelity)):
        print(f"Error: the values differ by more than {TOLERANCE:.0e} of themselves", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

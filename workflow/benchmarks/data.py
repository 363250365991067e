"""What photographs cost on their way to training: pictures per second through decoding and augmentation.

``make bench-data`` compares our darkroom with torchvision's ImageFolder and with plain ``datasets``, both behind
PyTorch's DataLoader, with one worker and with two. All three read the same files, cut a random square, resize it to the
side of training, mirror it by chance and hand over whole levels in batches. The clock begins with the second batch, so
nobody pays for starting workers; the CPU's time, which other work on the machine hardly changes, has them in it. A
second table has what the search for overlap costs.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from dalle.data.duplicates import Fingerprints

SIDE, BATCH = 64, 64
WIDTH, HEIGHT = 640, 480  # pixels of the pictures made here: COCO's


def make_pictures(folder: Path, num: int) -> None:
    """JPEG files with about as much detail, and so as many bytes, as photographs of this size have."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(num):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float)
        noisy = smooth + rng.normal(0, 12, (HEIGHT, WIDTH, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06}.jpg", quality=90)


def ours(folder: Path, workers: int) -> Iterator[int]:
    """The darkroom: listing 1 of the paper, in threads."""
    from dalle.data.darkroom import Darkroom, Print
    from dalle.data.sources.table import file_reader, make_source
    from dalle.listing import files_below

    files = files_below(folder)
    place = {"caption": "", "split": "train", "category": "", "width": WIDTH, "height": HEIGHT}
    rows = [place | {"prompt_id": n, "image_id": name, "file": name, "picture": n} for n, name in enumerate(files)]
    source = make_source(str(folder), rows, file_reader(folder, files))
    darkroom = Darkroom(source, SIDE, False, workers, seed=0)
    prints = [Print(n, "train", n, 1, "", "dvae") for n in range(len(files))]
    batch: list[np.ndarray] = []
    for _, square, _ in darkroom.develop(prints):
        batch.append(square)
        if len(batch) == BATCH:
            yield len(np.stack(batch))
            batch.clear()
    if batch:
        yield len(np.stack(batch))


def _augmentation() -> Callable[[Any], Any]:
    from torchvision import transforms

    cut = transforms.RandomResizedCrop(SIDE, scale=(0.5, 1), ratio=(1, 1))
    return transforms.Compose([cut, transforms.RandomHorizontalFlip(), transforms.PILToTensor()])


def torchvision_folder(folder: Path, workers: int) -> Iterator[int]:
    """torchvision's ImageFolder and DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    for pictures, _ in DataLoader(ImageFolder(folder.parent, _augmentation()), BATCH, num_workers=workers):
        yield len(pictures)


def plain_datasets(folder: Path, workers: int) -> Iterator[int]:
    """``datasets``' imagefolder with a transform, and DataLoader."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    augment = _augmentation()

    def transform(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"image": [augment(image.convert("RGB")) for image in rows["image"]]}

    given = {"data_dir": str(folder), "split": "train", "cache_dir": str(folder.parent.parent / "cache")}
    dataset = load_dataset("imagefolder", drop_labels=True, **given).with_transform(transform)
    for rows in DataLoader(dataset, BATCH, num_workers=workers):
        yield len(rows["image"])


SIDES = {"ours": ours, "torchvision ImageFolder": torchvision_folder, "datasets imagefolder": plain_datasets}


class Pace(NamedTuple):
    """How fast pictures came, and what each cost."""

    per_second: float  # after the first batch
    cpu: float  # milliseconds a picture, of all processes, from the start


def pace(batches: Iterator[int]) -> Pace:
    """Reads all batches."""
    busy, first = cpu_seconds(), next(batches)
    start = perf_counter()
    rest = sum(batches)
    return Pace(rest / (perf_counter() - start), 1000 * (cpu_seconds() - busy) / (first + rest))


def cpu_seconds() -> float:
    """Of this process and those of its children that have ended."""
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def throughput(folder: Path, workers: Sequence[int], rounds: int) -> Table:
    """Each side by the number of workers: the best of some rounds in turn, and the CPU's least time."""
    runs: dict[tuple[str, int], list[Pace]] = {}
    for _, num, (name, side) in product(range(rounds), workers, SIDES.items()):
        runs.setdefault((name, num), []).append(pace(side(folder, num)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="decode + augmentation, pictures per second")
    for heading in ("", *(f"{num} worker{'s' * (num > 1)}" for num in workers), "CPU, ms a picture"):
        table.add_column(heading, no_wrap=True, justify="right" if heading else "left")
    for name in SIDES:
        rates = [f"{max(run.per_second for run in runs[name, num]):,.0f}" for num in workers]
        table.add_row(name, *rates, f"{min(run.cpu for num in workers for run in runs[name, num]):.1f}")
    return table


def overlap() -> Table:
    """What the search for overlap costs on one core, and so for 10⁵ training and 10⁴ other pictures."""
    from dalle.data.duplicates import nearest_by_hash, nearest_by_vector

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, SIDE, SIDE, 3), dtype=np.uint8)
    vectors = [rng.normal(size=(num, 512)).astype(np.float32) for num in (1000, 10_000)]
    known, seen = clocked(lambda: fingerprints_of(pictures, copies=10))
    _, hashed = clocked(lambda: nearest_by_hash(known, known))
    _, compared = clocked(lambda: nearest_by_vector(*vectors))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="overlap of 100,000 with 10,000 pictures, one core")
    for heading in ("", "per second", "together, min"):
        table.add_column(heading, no_wrap=True, justify="right" if heading else "left")
    for name, num, seconds, whole in (
        (f"pictures of {SIDE} pixels, hashes and colours", len(pictures), seen, 1.1e5),
        ("pairs of pictures, by their hashes", len(known.hashes) ** 2, hashed, 1e9),
        ("pairs of vectors of 512 numbers", 1e7, compared, 1e9),
    ):
        table.add_row(name, f"{num / seconds:,.0f}", f"{whole * seconds / num / 60:,.1f}")
    return table


def fingerprints_of(pictures: np.ndarray, copies: int) -> "Fingerprints":
    """What the pictures are recognised by, as if each were there several times."""
    from dalle.data.duplicates import Fingerprints, hashes, thumbs

    found = [(*hashes(picture), thumbs(picture)) for picture in pictures]
    plain, mirrored, colours = (np.concatenate([np.array(part)] * copies) for part in zip(*found, strict=True))
    num = len(plain)
    return Fingerprints(np.arange(num), ["train"] * num, plain, mirrored, colours, np.zeros(num, bool), None)


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and the seconds that it takes."""
    start = perf_counter()
    return work(), perf_counter() - start


def main() -> int:
    options = argparse.ArgumentParser("python -m workflow.benchmarks.data", description="What photographs cost.")
    options.add_argument("--pictures", type=int, default=1280, help="how many are read (default: 1280)")
    options.add_argument("--rounds", type=int, default=3, help="of which the best counts (default: 3)")
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    asked = options.parse_args()
    if asked.pictures < 2 * BATCH or min(asked.rounds, *asked.workers) < 1:
        print(f"Error: allowed are {2 * BATCH} pictures and more, 1 round and 1 worker and more", file=sys.stderr)
        return 1
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    import torch

    torch.set_num_threads(1)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with TemporaryDirectory() as name:
        folder = Path(name, "classes", "photographs")
        make_pictures(folder, asked.pictures)
        console.print(throughput(folder, asked.workers, asked.rounds))
    console.print(overlap())
    return 0


if __name__ == "__main__":
    sys.exit(main())

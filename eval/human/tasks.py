"""A/B tasks for people (paper, appendix F): two pictures of one caption, two questions.

The folder of one comparison holds

- ``tasks.csv``, what a worker may see: task_id, caption, left_image, right_image (paths from this folder) and the two
  questions with their answers. Realism is a forced choice; only the caption question lets one say "neither".
- ``key.csv``, what nobody who answers may see: task_id, prompt_id, identical, and of left and right the system,
  n_candidates and candidate.
- ``images/``, PNG, enlarged without smoothing. Their names hold the task and the side, nothing else.

**Pictures that are equal pixel by pixel are no task**: the realism question knows no tie, so an answer would be a coin
toss. They stand in ``key.csv`` without a task_id and with identical = True, so that an analysis can count them as the
ties they are (half a win for each, as GLIDE counts) and say among how many captions the systems differed at all.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from dalle.config import Human
from dalle.images import read_archive
from dalle.seeding import seed_for

QUESTIONS = {
    "realism_question": "Which image is more realistic?",
    "realism_answers": "left|right",
    "caption_question": "Which image matches with this caption better?",
    "caption_answers": "left|right|neither",
}
SIDES = ("left", "right")
TASK_COLUMNS = ["task_id", "caption", "left_image", "right_image", *QUESTIONS]
KEY_COLUMNS = ["task_id", "prompt_id", "identical"] + [
    f"{side}_{name}" for side in SIDES for name in ("system", "n_candidates", "candidate")
]


class Contestant(NamedTuple):
    """One side of a comparison: a system's image archive, its selection, and the N whose pictures stand for it."""

    system: str
    archive: str | Path
    selection: str | Path
    n_candidates: int


class _Shown(NamedTuple):
    """A picture that stands for a contestant."""

    system: str
    n_candidates: int
    prompt_id: int
    candidate: int
    caption: str
    pixels: UInt8[np.ndarray, "h w 3"]


_Pair = tuple[_Shown, _Shown]


def _pictures(contestant: Contestant) -> dict[int, _Shown]:
    """The contestant's picture for each prompt. Raises ValueError if its selection knows no such N."""
    system, archive, selection, number = contestant
    chosen = pd.read_parquet(selection)
    allowed = sorted(set(chosen["n_candidates"]))
    if number not in allowed:
        raise ValueError(f"{selection}: n_candidates = {number} is not in it; allowed: {allowed}")
    rows, images = read_archive(archive)
    rows = rows.assign(place=range(len(rows)))
    rows = chosen[chosen["n_candidates"] == number].merge(rows, on=["prompt_id", "candidate"], validate="one_to_one")
    return {
        row.prompt_id: _Shown(system, number, row.prompt_id, row.candidate, row.caption, images[row.place])
        for row in rows.itertuples()
    }


def _draw_pairs(
    rng: np.random.Generator, first: dict[int, _Shown], second: dict[int, _Shown], num: int
) -> tuple[list[_Pair], list[_Pair]]:
    """Prompts in random order until ``num`` of them show two different pictures: those, and the identical ones met."""
    different, identical = [], []
    for prompt in rng.permutation(sorted(first)).tolist():
        if len(different) == num:
            break
        pair = first[prompt], second[prompt]
        (identical if np.array_equal(pair[0].pixels, pair[1].pixels) else different).append(pair)
    return different, identical


def _with_sides(rng: np.random.Generator, pairs: list[_Pair]) -> list[_Pair]:
    """The pairs as (left, right). Each contestant stands left in half of them; an odd one is tossed."""
    is_swapped = rng.permutation(np.arange(len(pairs)) % 2 == rng.integers(2))
    return [pair[::-1] if swap else pair for pair, swap in zip(pairs, is_swapped, strict=True)]


def _task_row(task_id: str, pair: _Pair) -> dict:
    images = {f"{side}_image": f"images/{task_id}-{side}.png" for side in SIDES}
    return {"task_id": task_id, "caption": pair[0].caption, **images, **QUESTIONS}


def _key_row(task_id: str, pair: _Pair) -> dict:
    row = {"task_id": task_id, "prompt_id": pair[0].prompt_id, "identical": task_id == ""}
    for side, shown in zip(SIDES, pair, strict=True):
        row |= {f"{side}_{name}": getattr(shown, name) for name in ("system", "n_candidates", "candidate")}
    return row


def _write_folder(folder: Path, pairs: dict[str, _Pair], identical: list[_Pair], scale: int) -> None:
    (folder / "images").mkdir()
    for task_id, pair in pairs.items():
        for side, shown in zip(SIDES, pair, strict=True):
            large = shown.pixels.repeat(scale, axis=0).repeat(scale, axis=1)
            Image.fromarray(large).save(folder / "images" / f"{task_id}-{side}.png")
    tasks = [_task_row(task_id, pair) for task_id, pair in pairs.items()]
    key = [_key_row(task_id, pair) for task_id, pair in pairs.items()] + [_key_row("", pair) for pair in identical]
    pd.DataFrame(tasks, columns=TASK_COLUMNS).to_csv(folder / "tasks.csv", index=False)
    pd.DataFrame(key, columns=KEY_COLUMNS).to_csv(folder / "key.csv", index=False)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` if the block succeeds and vanishes if it fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp shuts everybody else out
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_tasks(first: Contestant, second: Contestant, folder: str | Path, settings: Human, seed: int) -> None:
    """The folder of one comparison: ``settings.pairs`` tasks in random order, sides random and balanced.

    Everything random follows from ``seed`` and the names of the two. If fewer captions show two different pictures
    there are fewer tasks, and a warning says so. The folder is written whole or not at all, and replaces an older one.
    Raises ValueError for an N that is not in a selection, and for two contestants that do not show the same prompts.
    """
    pictures = _pictures(first), _pictures(second)
    if pictures[0].keys() != pictures[1].keys():
        raise ValueError(f"{first.archive} and {second.archive} show different prompts: they cannot be compared")
    rng = np.random.default_rng(
        seed_for(seed, "human", first.system, first.n_candidates, second.system, second.n_candidates)
    )
    different, identical = _draw_pairs(rng, *pictures, settings.pairs)
    if len(different) < settings.pairs:
        logging.getLogger(__name__).warning(
            "%s: %d tasks, not %d; no further captions show two different pictures",
            folder,
            len(different),
            settings.pairs,
        )
    tasks = {f"task{number:04}": pair for number, pair in enumerate(_with_sides(rng, different))}
    with _whole_folder(Path(folder)) as temporary:
        _write_folder(temporary, tasks, identical, settings.scale)

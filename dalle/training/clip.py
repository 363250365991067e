"""Train the reranker: from captioned pictures to weights, and an account of what it tells apart."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from dalle.config.models import Clip
from dalle.images import read_rows
from dalle.models.clip import clip_shape, make_clip, write_shape
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.clip import ClipStage
from dalle.systems.stage import Stage
from dalle.tokenizer import Tokenizer
from dalle.training.clip_album import Album
from dalle.training.clip_report import report
from dalle.training.clip_world import World
from dalle.training.fit import fit

if TYPE_CHECKING:
    from open_clip.model import CLIP


def train_clip(
    train: str | Path, tokenizer: str | Path, folder: str | Path, settings: Clip, context: int, seed: int
) -> None:
    """Train on the archive ``train``; where its pictures carry their scenes, on altered twins of them, too.

    Writes weights.safetensors, model.json, log.csv and report.json (what it tells apart, on contents or photographs
    that training never has) into ``folder``. No twin has a colour×shape pair that is not in the archive, nor a content
    reserved for validation. Raises ValueError for a caption longer than ``context``.
    """
    from safetensors.torch import save_file

    folder, words = Path(folder), Tokenizer(tokenizer)
    used = settings.optimisation.steps * settings.optimisation.batch_size  # twins of more would be drawn for nothing
    lessons = _lessons(train, words, context, seed, used)
    torch.manual_seed(seed_for(seed, "clip", "start"))
    shape = clip_shape(settings, lessons.image_size, context, words.vocab_size)
    model = make_clip(shape).to(memory_format=torch.channels_last)
    stage = lessons.stage(model)

    averaged = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "clip")
    weights = {name.removeprefix("clip."): value for name, value in averaged.items() if name.startswith("clip.")}
    model.cpu().load_state_dict(weights)
    write_shape(folder / "model.json", shape)
    with atomic(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(lessons.report(model.eval()), indent=2) + "\n", encoding="utf-8")
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)


class Lessons(NamedTuple):
    """What a reranker is taught by and examined in."""

    image_size: int
    stage: Callable[["CLIP"], Stage]
    report: Callable[["CLIP"], dict[str, dict[str, float | int]]]


def _lessons(train: str | Path, words: Tokenizer, context: int, seed: int, num_twins: int) -> Lessons:
    if (read_rows(train)["scene"] == "").all():
        album = Album(train, words, context, seed)
        return Lessons(album.image_size, album.stage, album.report)
    world = World(train, words, context, seed)
    return Lessons(
        world.image_size,
        lambda model: ClipStage(model, *world.pairs_and_twins(num_twins)),
        partial(report, world=world),
    )

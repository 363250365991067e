"""Train the reranker: from captioned pictures and their scenes to weights, and an account of what it tells apart."""

import json
from pathlib import Path

import torch

from dalle.config.models import Clip
from dalle.models.clip import clip_shape, make_clip, write_shape
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.clip import ClipStage
from dalle.tokenizer import Tokenizer
from dalle.training.clip_report import report
from dalle.training.clip_world import World
from dalle.training.fit import fit


def train_clip(
    train: str | Path, tokenizer: str | Path, folder: str | Path, settings: Clip, context: int, seed: int
) -> None:
    """Train on the archive ``train``, whose pictures carry their scenes, and on altered twins of them.

    Writes weights.safetensors, model.json, log.csv and report.json (what it tells apart, on contents that training
    never has) into ``folder``. No twin has a colour×shape pair that is not in the archive, nor a content reserved for
    validation. Raises ValueError for a caption longer than ``context``, or an archive without scenes.
    """
    from safetensors.torch import save_file

    folder, words = Path(folder), Tokenizer(tokenizer)
    world = World(train, words, context, seed)
    torch.manual_seed(seed_for(seed, "clip", "start"))
    shape = clip_shape(settings, world.image_size, context, words.vocab_size)
    model = make_clip(shape).to(memory_format=torch.channels_last)
    used = settings.optimisation.steps * settings.optimisation.batch_size  # twins of more would be drawn for nothing
    stage = ClipStage(model, *world.pairs_and_twins(used))

    averaged = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "clip")
    weights = {name.removeprefix("clip."): value for name, value in averaged.items() if name.startswith("clip.")}
    model.cpu().load_state_dict(weights)
    write_shape(folder / "model.json", shape)
    with atomic(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report(model.eval(), world), indent=2) + "\n")
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)

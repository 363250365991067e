"""Train the reranker: from captioned pictures and their scenes to weights, and an account of what it tells apart."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP

from dalle.config import Clip
from dalle.data.captions import caption
from dalle.data.drawing import draw
from dalle.data.negatives import CHANGES, altered, twin
from dalle.data.scenes import Scene, is_reserved, random_scenes
from dalle.images import read_archive
from dalle.models.clip import clip_shape, make_clip, write_shape
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.clip import ClipStage, Pairs
from dalle.systems.clip_report import accuracy_against, retrieval_accuracy
from dalle.tokenizer import Tokenizer
from dalle.training.fit import fit

PROBES = 256  # scenes, of contents that training never has, on which the report measures


def train_clip(
    train: str | Path, tokenizer: str | Path, folder: str | Path, settings: Clip, context: int, seed: int
) -> None:
    """Train on the archive ``train``, whose pictures carry their scenes, and on altered twins of them.

    Writes weights.safetensors, model.json, log.csv and report.json into ``folder``. No twin has a colour×shape pair that
    is not in the archive, nor a content reserved for validation. Raises ValueError for a caption longer than
    ``context``, pictures whose side ``settings.patch`` does not divide, or an archive without scenes.
    """
    from safetensors.torch import save_file

    folder, words = Path(folder), Tokenizer(tokenizer)
    world = World(train, words, context, seed)
    torch.manual_seed(seed_for(seed, "clip", "start"))
    shape = clip_shape(settings, world.image_size, context, words.vocab_size)
    model = make_clip(shape)
    used = settings.optimisation.steps * settings.optimisation.batch_size  # twins of more would be drawn for nothing
    stage = ClipStage(model.to(memory_format=torch.channels_last), world.pairs(used), world.twins(used))

    weights = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "clip")
    model.cpu().load_state_dict(weights)
    write_shape(folder / "model.json", shape)
    with atomic(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report(model.eval(), world), indent=2) + "\n")
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)


class World:
    """The training archive, and further scenes of the same world: twins to train with, probes to measure with."""

    def __init__(self, train: str | Path, words: Tokenizer, context: int, seed: int) -> None:
        rows, self.pixels = read_archive(train)
        if (rows["scene"] == "").any():
            raise ValueError(f"{train}: a picture has no scene, and without one its altered twin cannot be drawn")
        self.captions = rows["caption"].tolist()
        self.scenes = [Scene.from_json(text) for text in rows["scene"]]
        self.words, self.context, self.seed = words, context, seed
        self.image_size = self.pixels.shape[1]
        self.lattice = int(np.gcd.reduce([(thing.x, thing.y) for scene in self.scenes for thing in scene.things], None))
        self.pairs_seen = {kind.pair for scene in self.scenes for kind in scene.kinds}
        self.numbers: dict[str, int] = {}

    def pairs(self, num: int) -> Pairs:
        """The first ``num`` pairs of the archive."""
        return self._pairs(self.scenes[:num], self.captions[:num], self.pixels[:num])

    def twins(self, num: int) -> Pairs:
        """A twin for each of the first ``num`` pairs."""
        rng = np.random.default_rng(seed_for(self.seed, "clip", "twins"))
        place = (rng, self.image_size, self.lattice, self.may_be_trained)
        return self.drawn([twin(scene, *place) for scene in self.scenes[:num]], rng)

    def may_be_trained(self, scene: Scene) -> bool:
        return self.is_seen(scene) and not is_reserved(scene.content)

    def is_seen(self, scene: Scene) -> bool:
        return all(kind.pair in self.pairs_seen for kind in scene.kinds)

    def probes(self, num: int, rng: np.random.Generator) -> list[Scene]:
        """At most ``num`` scenes of distinct reserved contents."""
        scenes = islice(random_scenes(rng, self.pairs_seen, self.image_size, self.lattice), 100 * num)
        distinct = {scene.content: scene for scene in scenes if is_reserved(scene.content)}
        return list(distinct.values())[:num]

    def drawn(self, scenes: list[Scene], rng: np.random.Generator) -> Pairs:
        """Pairs of new pictures and captions."""
        pixels = np.stack([draw(scene, self.image_size, rng) for scene in scenes])
        return self._pairs(scenes, [caption(scene, rng) for scene in scenes], pixels)

    def _pairs(self, scenes: list[Scene], captions: list[str], pixels: np.ndarray) -> Pairs:
        numbers = [self.numbers.setdefault(scene.content, len(self.numbers)) for scene in scenes]
        tokens = torch.from_numpy(self.words.encode(captions, self.context))
        return Pairs(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), tokens, torch.tensor(numbers))

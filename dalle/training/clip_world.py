"""What the reranker learns from and is measured on: a training archive, and further scenes of the same world."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from dalle.data.captions import caption
from dalle.data.drawing import draw
from dalle.data.facts import fact_table, facts
from dalle.data.negatives import altered, twin
from dalle.data.scenes import Scene, is_reserved, random_scenes
from dalle.images import read_archive
from dalle.seeding import seed_for
from dalle.systems.clip import Pairs
from dalle.tokenizer import Tokenizer


class World:
    """The world of the archive ``train``: its picture size, its lattice and the colour×shape pairs that occur in it.

    Raises ValueError if a picture has no scene.
    """

    def __init__(self, train: str | Path, words: Tokenizer, context: int, seed: int) -> None:
        rows, self.pixels = read_archive(train)
        if (rows["scene"] == "").any():
            raise ValueError(f"{train}: a picture has no scene, and without one its altered twin cannot be drawn")
        self.captions = rows["caption"].tolist()
        self.scenes = [Scene.from_json(text) for text in rows["scene"]]
        self.words, self.context, self.seed = words, context, seed
        self.image_size = self.pixels.shape[1]
        places = [place for scene in self.scenes for thing in scene.things for place in (thing.x, thing.y)]
        self.lattice = int(np.gcd.reduce(places))
        self.seen = {kind.pair for scene in self.scenes for kind in scene.kinds}

    def pairs_and_twins(self, num: int) -> tuple[Pairs, Pairs]:
        """The first ``num`` pairs of the archive (all, if it has fewer), and a twin of each."""
        rng = np.random.default_rng(seed_for(self.seed, "clip", "twins"))
        scenes, pixels, captions = self.scenes[:num], self.pixels[:num], self.captions[:num]
        twins = [twin(scene, rng, self.image_size, self.lattice, self._may_be_trained) for scene in scenes]
        vocabulary = sorted(set().union(*map(facts, scenes + twins)))
        contents = {scene.content: number for number, scene in enumerate(scenes + twins)}

        def pairs(scenes: list[Scene], pixels: UInt8[np.ndarray, "n h w 3"], captions: list[str]) -> Pairs:
            return Pairs(
                pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
                tokens=torch.from_numpy(self.words.encode(captions, self.context)),
                facts=fact_table(scenes, vocabulary),
                contents=torch.tensor([contents[scene.content] for scene in scenes]),
            )

        return pairs(scenes, pixels, captions), pairs(twins, self.draw(twins, rng), self.describe(twins, rng))

    def probes(self, num: int, rng: np.random.Generator) -> list[Scene]:
        """Scenes of at most ``num`` distinct contents that no training set has."""
        scenes = islice(random_scenes(rng, self.seen, self.image_size, self.lattice), 30 * num)
        distinct = {scene.content: scene for scene in scenes if is_reserved(scene.content)}
        return list(distinct.values())[:num]

    def alter(self, scene: Scene, aspect: str, rng: np.random.Generator) -> Scene | None:
        """``scene`` with one aspect changed, made of seen pairs; None if that cannot be."""
        return altered(scene, aspect, rng, self.image_size, self.lattice, self._is_seen)

    def draw(self, scenes: list[Scene], rng: np.random.Generator) -> UInt8[np.ndarray, "n h w 3"]:
        """A picture of each scene."""
        return np.stack([draw(scene, self.image_size, rng) for scene in scenes])

    def describe(self, scenes: list[Scene], rng: np.random.Generator) -> list[str]:
        """A caption of each scene."""
        return [caption(scene, rng) for scene in scenes]

    def _is_seen(self, scene: Scene) -> bool:
        return all(kind.pair in self.seen for kind in scene.kinds)

    def _may_be_trained(self, scene: Scene) -> bool:
        return self._is_seen(scene) and not is_reserved(scene.content)

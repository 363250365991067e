"""What the reranker can tell apart, measured on contents that training never has."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dalle.data.negatives import CHANGES
from dalle.images import to_float
from dalle.seeding import seed_for
from dalle.systems.clip import spoil
from dalle.training.clip_world import World

if TYPE_CHECKING:
    from open_clip.model import CLIP

PROBES = 256


@torch.inference_mode()
def report(model: "CLIP", world: World) -> dict[str, dict[str, float | int]]:
    """Name → accuracy and n, on at most PROBES scenes; chance is 0.5, for ``retrieval`` 1/n.

    - An aspect (``relation``): a picture prefers its own caption to that of the scene altered in this aspect.
    - ``picture relation``: a caption prefers its own picture to that of the altered scene, as reranking does.
    - ``picture spoiled``: a caption prefers its picture to one with squares of another.
    - ``retrieval``: a caption finds its picture among all.
    """
    rng = np.random.default_rng(seed_for(world.seed, "clip", "report"))
    scenes = world.probes(PROBES, rng)
    own_pixels = to_float(world.draw(scenes, rng))
    pictures = model.encode_image(own_pixels, normalize=True)
    texts = _texts(model, world, world.describe(scenes, rng))
    own, found = (texts * pictures).sum(-1), (texts @ pictures.T).argmax(-1)
    accuracies = {"retrieval": _share(found == torch.arange(len(scenes)))}

    chance = torch.Generator().manual_seed(seed_for(world.seed, "clip", "spoiled"))
    spoiled = model.encode_image(spoil(own_pixels, own_pixels.roll(2, 0), chance), normalize=True)
    accuracies["picture spoiled"] = _share(own > (texts * spoiled).sum(-1))

    for aspect in CHANGES:
        others = {row: world.alter(scene, aspect, rng) for row, scene in enumerate(scenes)}
        rows = [row for row, other in others.items() if other is not None]
        if rows:
            altered = [others[row] for row in rows]
            other_texts = _texts(model, world, world.describe(altered, rng))
            other_pictures = model.encode_image(to_float(world.draw(altered, rng)), normalize=True)
            accuracies[aspect] = _share(own[rows] > (other_texts * pictures[rows]).sum(-1))
            accuracies[f"picture {aspect}"] = _share(own[rows] > (texts[rows] * other_pictures).sum(-1))
    return accuracies


def _texts(model: "CLIP", world: World, captions: list[str]) -> Float[Tensor, "n dim"]:
    return model.encode_text(torch.from_numpy(world.words.encode(captions, world.context)), normalize=True)


def _share(right: Bool[Tensor, " n"]) -> dict[str, float | int]:
    return {"accuracy": float(right.float().mean()), "n": len(right)}

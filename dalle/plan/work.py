"""The few numbers of an experiment that its cost follows from, and its models without their numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from dalle.config.data import Photographs, Scenes
from dalle.config.experiment import Experiment
from dalle.config.models import DVAE
from dalle.config.training import Optimisation
from dalle.models.transformer import Shape, prior_shape

if TYPE_CHECKING:
    from dalle.models.dvae import AnyDVAE


@dataclass(frozen=True)
class Work:
    """What is trained and drawn."""

    shape: Shape  # of the prior
    attention: str  # in which way the prior computes it
    prior: Optimisation
    dvae: DVAE
    image_size: int  # pixels
    pairs: int  # pictures that are kept as codes for the prior
    prompts: int  # captions of all suites
    suites: int
    candidates: int  # of each caption
    rows: int  # candidates computed together
    jobs: int  # that draw candidates


# Pictures of each split of the published sets, by kind and edition, and captions of each picture.
PUBLISHED = {
    ("coco", "2014"): {"train": 82_783, "val": 40_504},
    ("coco", "2017"): {"train": 118_287, "val": 5_000},
    ("coco", "Karpathy"): {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000},
    ("cub", "classes"): {"train": 8_855, "test": 2_933},
    ("cub", "pictures"): {"train": 5_994, "test": 5_794},
}
CAPTIONS = {"coco": 5, "cub": 10}


def read_work(experiment: Experiment) -> Work:
    """The experiment's numbers. Raises ValueError for photographs whose number neither settings nor we know."""
    prior, data, sampling = experiment.prior, experiment.data, experiment.sampling
    count = _of_scenes if experiment.is_of_scenes else _of_photographs
    pairs, prompts = count(data, prior.uncaptioned)
    context, text_vocab = experiment.tokenizer.context, experiment.tokenizer.vocab_size
    shape = prior_shape(prior, context, text_vocab, experiment.grid, experiment.dvae.codes)
    return Work(
        shape=shape,
        attention=prior.attention,
        prior=prior.optimisation,
        dvae=experiment.dvae,
        image_size=data.image_size,
        pairs=pairs,
        prompts=prompts,
        suites=len(data.suites),
        candidates=sampling.n_candidates[-1],
        rows=sampling.rows,
        jobs=sampling.shards * sampling.blocks,
    )


def _of_scenes(data: Scenes, uncaptioned: bool) -> tuple[int, int]:
    return data.train + (data.uncaptioned if uncaptioned else 0), data.val + data.zeroshot


def _of_photographs(data: Photographs, uncaptioned: bool) -> tuple[int, int]:
    """Pairs to train on and prompts: of the published set, if the settings do not ask for fewer; nothing filtered."""
    splits = PUBLISHED.get((data.kind, _edition(data)), {})
    known = sum(splits.get(split, 0) for split in data.train)
    pictures = min(filter(None, (known, data.pictures)), default=0)
    described = round(splits.get(data.val, 0) * (1 - data.held_back))
    captions = described * (1 if data.captions == "one" else CAPTIONS.get(data.kind, 1))
    prompts = min(filter(None, (captions, data.prompts)), default=0)
    if not (pictures and prompts):
        raise ValueError(f"data: only the source knows how much {data.kind} holds; set data.pictures and data.prompts")
    return pictures * (data.views + (data.dvae_views if uncaptioned else 0)), prompts


def _edition(data: Photographs) -> str:
    if data.kind == "coco":
        return "Karpathy" if data.karpathy else str(data.year)
    return data.split if data.kind == "cub" else ""


def dvae_without_numbers(settings: DVAE) -> "AnyDVAE":
    """The experiment's dVAE on the meta device."""
    from dalle.models.dvae import make_dvae

    with torch.device("meta"):
        return make_dvae(settings)


def prior_without_numbers(shape: Shape) -> nn.Module:
    """The prior on the meta device."""
    from dalle.models.transformer import Transformer

    with torch.device("meta"):
        return Transformer(shape)

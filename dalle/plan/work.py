"""The few numbers of an experiment that its cost follows from, and its models without their numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from dalle.config.experiment import Experiment
from dalle.config.models import DVAE
from dalle.config.training import Optimisation
from dalle.models.transformer import Shape

if TYPE_CHECKING:
    from dalle.models.dvae import DiscreteVAE


@dataclass(frozen=True)
class Work:
    """What is trained and drawn."""

    shape: Shape  # of the prior
    prior: Optimisation
    dvae: DVAE
    image_size: int  # pixels
    pairs: int  # pictures that are kept as codes for the prior
    prompts: int  # captions of all suites
    suites: int
    candidates: int  # of each caption
    rows: int  # candidates computed together
    jobs: int  # that draw candidates


def read_work(experiment: Experiment) -> Work:
    """The experiment's numbers."""
    prior, data, sampling = experiment.prior, experiment.data, experiment.sampling
    shape = Shape(
        width=prior.width,
        heads=prior.heads,
        depth=prior.depth,
        conv_kernel=prior.conv_kernel,
        text_context=experiment.tokenizer.context,
        text_vocab=experiment.tokenizer.vocab_size,
        grid=experiment.grid,
        codes=experiment.dvae.codes,
    )
    return Work(
        shape=shape,
        prior=prior.optimisation,
        dvae=experiment.dvae,
        image_size=data.image_size,
        pairs=data.train + (data.uncaptioned if prior.uncaptioned else 0),
        prompts=data.val + data.zeroshot,
        suites=2,
        candidates=sampling.n_candidates[-1],
        rows=sampling.rows,
        jobs=sampling.shards * sampling.blocks,
    )


def dvae_without_numbers(settings: DVAE) -> "DiscreteVAE":
    """The experiment's dVAE on the meta device."""
    from dalle.models.dvae import DiscreteVAE

    with torch.device("meta"):
        return DiscreteVAE(settings)


def prior_without_numbers(shape: Shape) -> nn.Module:
    """The prior on the meta device."""
    from dalle.models.transformer import Transformer

    with torch.device("meta"):
        return Transformer(shape)

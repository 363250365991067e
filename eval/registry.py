"""METRICS, the one visible table: every metric of the metrics table, what it needs, and how to read it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from eval.metrics.frechet import frechet_distance
from eval.metrics.inception_score import inception_score
from eval.stats import wilson


class Estimate(NamedTuple):
    """A number and the interval around it; NaN where there is none."""

    value: float
    low: float = nan
    high: float = nan


@dataclass(frozen=True)
class Metric:
    """A row of the registry.

    ``needs`` names the evidence that ``compute`` takes, in its order; a metric is computed wherever all of it is at
    hand. The first one has a row for each picture (or prompt) judged. The kinds of evidence: ``features`` and
    ``logits`` of the pictures, ``reference`` (features), ``splits`` (a number), ``grounded`` (1 for a right picture),
    ``right_among_first`` (1 for a prompt with a right one among its first N candidates), ``psnr`` (dB a picture).
    """

    compute: Callable[..., Estimate]
    needs: tuple[str, ...]
    better: Literal["higher", "lower"]
    unit: str
    per: Literal["image", "set"]  # a mean over pictures, or a property of the set alone


def _fid(features: Float[np.ndarray, "n dim"], reference: Float[np.ndarray, "m dim"]) -> Estimate:
    return Estimate(frechet_distance(features, reference))


def _inception_score(logits: Float[np.ndarray, "n classes"], splits: int) -> Estimate:
    """The interval is one standard deviation over the splits to either side: a spread, not a confidence."""
    mean, std = inception_score(logits, splits)
    return Estimate(mean, mean - std, mean + std)


def _share(outcomes: Float[np.ndarray, " n"]) -> Estimate:
    """The share of ones, with Wilson's 95 % interval."""
    right = int(outcomes.sum())
    return Estimate(right / len(outcomes), *wilson(right, len(outcomes)))


def _mean(values: Float[np.ndarray, " n"]) -> Estimate:
    return Estimate(float(values.mean()))


METRICS = {
    "fid": Metric(_fid, ("features", "reference"), "lower", "squared distance of features", "set"),
    "inception_score": Metric(_inception_score, ("logits", "splits"), "higher", "effective classes", "set"),
    "grounded": Metric(_share, ("grounded",), "higher", "share of pictures", "image"),
    "grounded_any": Metric(_share, ("right_among_first",), "higher", "share of prompts", "image"),
    "psnr": Metric(_mean, ("psnr",), "higher", "dB", "image"),
}

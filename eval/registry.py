"""METRICS, the one visible table: every metric, what it needs, which way is better, and how sure it is.

A metric is computed wherever all it needs is at hand. Kinds of evidence: ``comparison``, pictures and reference;
``logits`` of the pictures; ``protocol``, the rules it is computed by; ``counts``, the resamples of the bootstrap;
``seed``; and by their own names the values of per-image metrics, one for each picture (or prompt) judged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from eval.metrics import frechet, inception_score, kernel
from eval.metrics.leave_one_out import without_each
from eval.metrics.manifold import Manifold, ManifoldReference
from eval.protocols.protocol import FidProtocol, IsProtocol
from eval.stats import interval, jackknife_replicates, mean_replicates, wilson

Counts = Int64[np.ndarray, "replicates n"]


class Measured(NamedTuple):
    """A number, its 95 % interval, and its values in the resamples of the bootstrap over prompts, if it has any."""

    value: float
    low: float = nan
    high: float = nan
    replicates: Float[np.ndarray, " replicates"] | None = None


@dataclass(frozen=True)
class Reference:
    """The other side of a comparison; what every system needs of it is computed once."""

    features: Float[np.ndarray, "m dim"]
    protocol: FidProtocol

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def frechet(self) -> frechet.FrechetReference:
        return frechet.FrechetReference.of(self.features)

    @cached_property
    def kernel(self) -> kernel.KernelReference:
        return kernel.KernelReference(self.features)

    @cached_property
    def manifold(self) -> ManifoldReference:
        return ManifoldReference.of(self.features, **self.protocol.neighbours.model_dump())


@dataclass(frozen=True)
class Comparison:
    """Pictures against a reference; what several metrics need of the two is computed once, when the first asks."""

    features: Float[np.ndarray, "n dim"]
    reference: Reference

    @cached_property
    def projected(self) -> frechet.Projected:
        return self.reference.frechet.project(self.features)

    @cached_property
    def manifold(self) -> Manifold:
        return self.reference.manifold.compare(self.features)


@dataclass(frozen=True)
class Metric:
    """A row of the registry."""

    compute: Callable[..., Measured]
    needs: tuple[str, ...]
    better: Literal["higher", "lower"]
    unit: str
    per: Literal["image", "set"]  # a mean over pictures, or a property of the set alone


def _sampled(value: float, replicates: Float[np.ndarray, " replicates"]) -> Measured:
    return Measured(value, *interval(value, replicates), replicates)


def _fid(comparison: Comparison, counts: Counts) -> Measured:
    given = comparison.projected, comparison.reference.frechet
    value = frechet.distance(*given)
    return _sampled(value, jackknife_replicates(value, without_each(*given), counts))


def _fid_infinity(comparison: Comparison, protocol: FidProtocol, seed: int) -> Measured:
    """The interval is that of the line: how sure its intercept is, not how much other prompts would change it."""
    rule = protocol.infinity
    given = comparison.projected, comparison.reference.frechet
    return Measured(*frechet.fid_infinity(*given, rule.points, rule.smallest, seed))


def _kid(comparison: Comparison, protocol: FidProtocol, counts: Counts) -> Measured:
    features, reference, rule = comparison.features, comparison.reference, protocol.kid
    # All pictures once is one more resample: the kernels are computed in one pass.
    once_more = np.vstack([np.ones_like(counts[:1]), counts])
    all_pairs, *replicates = kernel.mmd2_replicates(features, reference.kernel, once_more)
    value = kernel.kid(features, reference.features, rule.subsets, rule.size, rule.seed) if rule else all_pairs
    return _sampled(float(value), np.array(replicates))


def _cmmd(comparison: Comparison, counts: Counts) -> Measured:
    given = comparison.features, comparison.reference.kernel
    value = kernel.cmmd_replicates(*given, np.ones_like(counts[:1]))
    return _sampled(float(value[0]), kernel.cmmd_replicates(*given, counts))


def _precision(comparison: Comparison, counts: Counts) -> Measured:
    return _share(comparison.manifold.real, counts)


def _of_manifold(name: str) -> Callable[[Comparison, Counts], Measured]:
    def compute(comparison: Comparison, counts: Counts) -> Measured:
        manifold = comparison.manifold
        found = _sampled(getattr(manifold, name)(), manifold.replicates(name, counts))
        return found._replace(low=max(found.low, 0), high=found.high if name == "density" else min(found.high, 1))

    return compute


def _inception_score(logits: Float[np.ndarray, "n classes"], protocol: IsProtocol, counts: Counts) -> Measured:
    mean, _ = inception_score.inception_score(logits, protocol.splits, protocol.shuffle_seed)
    return _sampled(mean, inception_score.inception_score_replicates(logits, protocol.splits, counts))


def _share(outcomes: Float[np.ndarray, " n"], counts: Counts) -> Measured:
    """The share of ones, with Wilson's interval: a bootstrap of 256 right pictures would be sure of 100 %."""
    right = int(outcomes.sum())
    value = right / len(outcomes)
    return Measured(value, *wilson(right, len(outcomes)), mean_replicates(outcomes, counts))


def _mean(values: Float[np.ndarray, " n"], counts: Counts) -> Measured:
    return _sampled(float(values.mean()), mean_replicates(values, counts))


_PAIR = ("comparison", "counts")
METRICS = {
    "fid": Metric(_fid, _PAIR, "lower", "squared distance of features", "set"),
    "fid_infinity": Metric(
        _fid_infinity, ("comparison", "protocol", "seed"), "lower", "squared distance of features", "set"
    ),
    "kid": Metric(_kid, ("comparison", "protocol", "counts"), "lower", "squared distance of kernel means", "set"),
    "cmmd": Metric(_cmmd, _PAIR, "lower", "1000 × squared distance of kernel means", "set"),
    "precision": Metric(_precision, _PAIR, "higher", "share of pictures", "set"),
    "recall": Metric(_of_manifold("recall"), _PAIR, "higher", "share of the reference", "set"),
    "density": Metric(_of_manifold("density"), _PAIR, "higher", "balls a picture is in, by k", "set"),
    "coverage": Metric(_of_manifold("coverage"), _PAIR, "higher", "share of the reference", "set"),
    "inception_score": Metric(_inception_score, ("logits", "protocol", "counts"), "higher", "effective classes", "set"),
    "grounded": Metric(_share, ("grounded", "counts"), "higher", "share of pictures", "image"),
    "grounded_any": Metric(_share, ("right_among_first", "counts"), "higher", "share of prompts", "image"),
    "psnr": Metric(_mean, ("psnr", "counts"), "higher", "dB", "image"),
    "clip_cos": Metric(_mean, ("clip_cos", "counts"), "higher", "cosine", "image"),
    "clipscore": Metric(_mean, ("clipscore", "counts"), "higher", "2.5 × cosine, at least 0", "image"),
    "clip_logit": Metric(_mean, ("clip_logit", "counts"), "higher", "cosine × the model's scale", "image"),
    "clip_x100": Metric(_mean, ("clip_x100", "counts"), "higher", "100 × cosine", "image"),
    "r_precision": Metric(_share, ("r_precision", "counts"), "higher", "share of pictures", "image"),
}

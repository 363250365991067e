"""The registry says how to compute, and how to read, every metric; and every number has its interval."""

import typing

import numpy as np
import pytest

from eval.metrics.frechet import frechet_distance
from eval.metrics.kernel import cmmd, kid, mmd2
from eval.protocols.protocol import Infinity, SetMetric, load_protocol
from eval.registry import METRICS, Comparison, Reference
from eval.stats import draw_counts

IS = load_protocol("is.imagenet-lite@1")
FID = load_protocol("fid.imagenet-lite@1").model_copy(update={"infinity": Infinity(points=5, smallest=10)})
NUM, OTHERS, DIM = 40, 30, 6


def evidence():
    """Made-up pictures, and everything a metric can need of them."""
    rng = np.random.default_rng(0)
    features, reference = rng.normal(size=(NUM, DIM)), Reference(rng.normal(size=(OTHERS, DIM)) + 0.5, FID)
    shares = ("grounded", "right_among_first", "r_precision")
    scores = ("psnr", "clip_cos", "clipscore", "clip_logit", "clip_x100")
    return {
        "comparison": Comparison(features, reference),
        "logits": rng.normal(size=(NUM, 4)),
        "counts": draw_counts(NUM, 100, seed=1),
        "seed": 3,
        **{name: (rng.random(NUM) < 0.7).astype(float) for name in shares},
        **{name: rng.normal(size=NUM) for name in scores},
    }


@pytest.fixture(scope="module")
def measured():
    given = evidence()
    protocols = {"inception_score": IS}
    return {
        name: metric.compute(*({**given, "protocol": protocols.get(name, FID)}[need] for need in metric.needs))
        for name, metric in METRICS.items()
    }


def test_directions():
    lower = {name for name, metric in METRICS.items() if metric.better == "lower"}
    assert lower == {"fid", "fid_infinity", "kid", "cmmd"}


def test_every_metric_that_a_protocol_can_list_is_there():
    assert set(typing.get_args(SetMetric)) < METRICS.keys()


def test_values_are_those_of_the_functions(measured):
    given = evidence()
    pair = given["comparison"].features, given["comparison"].reference.features
    assert measured["fid"].value == pytest.approx(frechet_distance(*pair))
    assert measured["kid"].value == pytest.approx(mmd2(*pair))
    assert measured["cmmd"].value == pytest.approx(cmmd(*pair))
    assert measured["grounded_any"].value == given["right_among_first"].mean()
    assert measured["psnr"].value == given["psnr"].mean()


@pytest.mark.parametrize("name", METRICS)
def test_every_number_lies_in_an_interval_of_some_width(measured, name):
    found = measured[name]
    assert found.low <= found.value <= found.high
    assert found.low < found.high


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"fid_infinity"}))
def test_every_metric_can_be_compared_prompt_by_prompt(measured, name):
    assert measured[name].replicates.shape == (100,)
    assert np.isfinite(measured[name].replicates).all()


def test_shares_stay_within_0_and_1(measured):
    shares = [name for name, metric in METRICS.items() if metric.unit.startswith("share")]
    assert len(shares) == 6
    assert all(0 <= measured[name].low <= measured[name].high <= 1 for name in shares)


def test_kid_is_of_subsets_where_the_protocol_says_so():
    given, strict = evidence(), load_protocol("fid.tf-compat@1")
    pair = given["comparison"]
    small = FID.model_copy(update={"kid": strict.kid.model_copy(update={"size": 20})})
    found = METRICS["kid"].compute(pair, small, given["counts"])
    assert found.value == pytest.approx(kid(pair.features, pair.reference.features, 100, 20, 2020))
    assert found.value != mmd2(pair.features, pair.reference.features)
    with pytest.raises(ValueError, match="1000"):
        METRICS["kid"].compute(pair, strict, given["counts"])

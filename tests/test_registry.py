"""The registry says how to compute, and how to read, every metric."""

import math

import numpy as np
import pytest

from eval.metrics.frechet import frechet_distance
from eval.registry import METRICS


def test_every_metric_of_the_metrics_table_is_there_once_with_its_direction():
    assert {name: metric.better for name, metric in METRICS.items()} == {
        "fid": "lower",
        "inception_score": "higher",
        "grounded": "higher",
        "grounded_any": "higher",
        "psnr": "higher",
    }


def test_needs_are_the_arguments_of_the_function_in_its_order():
    rng = np.random.default_rng(0)
    evidence = {
        "features": rng.normal(size=(12, 5)),
        "reference": rng.normal(size=(9, 5)) + 3,
        "logits": rng.normal(size=(12, 4)),
        "splits": 3,
        "grounded": np.array([1.0, 0, 0, 0]),
        "right_among_first": np.array([1.0, 1, 0, 1]),
        "psnr": np.array([20.0, 30]),
    }
    found = {name: metric.compute(*(evidence[need] for need in metric.needs)) for name, metric in METRICS.items()}
    assert found["fid"].value == frechet_distance(evidence["features"], evidence["reference"])
    assert found["grounded"].value == 0.25
    assert found["grounded_any"].value == 0.75
    assert found["psnr"].value == 25
    for name in ("inception_score", "grounded", "grounded_any"):
        assert found[name].low < found[name].value < found[name].high
    for name in ("fid", "psnr"):
        assert math.isnan(found[name].low) and math.isnan(found[name].high)


def test_the_inception_scores_interval_is_even():
    score = METRICS["inception_score"].compute(np.random.default_rng(0).normal(size=(40, 4)), 4)
    assert score.high - score.value == pytest.approx(score.value - score.low)

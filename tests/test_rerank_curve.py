"""A rerank curve from stored features is what torch-fidelity finds folder by folder; and the benchmark of both runs."""

import itertools
import re
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch import nn

from dalle.images import write_archive
from dalle.provenance import ROOT
from dalle.rerank import write_winners
from eval.agreement import COLUMNS as SCORE_COLUMNS
from eval.blur import blur
from eval.extractors import Extractor
from eval.features import write_features
from eval.networks.network import Network
from eval.protocols.protocol import load_protocol
from eval.shown import Shown
from eval.store import picture_key
from eval.sweep import Rules, write_metrics
from eval.tables import read_table, write_table
from workflow.benchmarks.fidelity import register

FID, IS, BLUR = map(load_protocol, ("fid.imagenet-lite@1", "is.imagenet-lite@1", "blur.pil@1"))
PROMPTS, CANDIDATES, NUMBERS, RADII = 24, 8, (1, 2, 4, 8), (0, 8)
OVERLAP = (2, 3, 7, 19)  # prompts whose reference picture was trained on
SCORES = np.random.default_rng(0).random((PROMPTS, CANDIDATES))


def picture(prompt, candidate):
    """Coloured squares; the last four prompts have the same candidates as the first four."""
    rng = np.random.default_rng([prompt % (PROMPTS - 4), candidate])
    pixels = np.full((48, 48, 3), rng.integers(0, 256, 3), np.uint8)
    for left, top, size in rng.integers(4, 40, (5, 3)):
        pixels[top : top + size, left : left + size] = rng.integers(0, 256, 3)
    return pixels


def winners(n):
    """The best of the first N candidates of every prompt, the obvious way."""
    return [max(range(n), key=scores.__getitem__) for scores in SCORES.tolist()]


REFERENCE = [picture(prompt, CANDIDATES + prompt) for prompt in range(PROMPTS)]
SHOWN = sorted({(prompt, winner) for n in NUMBERS for prompt, winner in enumerate(winners(n))})


@dataclass(frozen=True)
class Recording(Extractor):
    """An extractor that remembers which pictures it was shown; those within a batch once."""

    looks: list[bytes] = field(default_factory=list)

    def __call__(self, pictures):
        self.looks.extend({picture_key(pixels) for pixels in pictures})
        return super().__call__(pictures)


@pytest.fixture(scope="module")
def extractor():
    """A small random network. It has fewer features than there are pictures, so covariances have full rank."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 9, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = nn.Linear(8, 5)
    nn.init.normal_(classifier.weight, std=20)  # sure of its classes, or the Inception Score would be 1
    return Extractor(FID, Network(body, {"logits": classifier}), "0" * 64)


@pytest.fixture(scope="module")
def ours(extractor, tmp_path_factory):
    """Our road from scores and pictures to the metrics table; the table, and what the network was shown."""
    place = tmp_path_factory.mktemp("ours")
    scores = [(prompt, candidate, score) for (prompt, candidate), score in np.ndenumerate(SCORES)]
    pd.DataFrame(scores, columns=["prompt_id", "candidate", "score"]).to_parquet(place / "scores.parquet")
    write_winners([place / "scores.parquet"], place / "dalle1" / "val.selection.parquet", NUMBERS)
    archive(place / "dalle1.parquet", SHOWN)
    archive(place / "reference.parquet", [(prompt, 0) for prompt in range(PROMPTS)], REFERENCE)
    extractor = Recording(**vars(extractor))
    for source, radius in itertools.product(("dalle1", "reference"), RADII):
        out = place / f"features/{FID.label}/{source}/val/blur{radius}.safetensors"
        write_features(place / f"{source}.parquet", out, extractor, BLUR, radius, place / "store")
    overlap = {"suite": "val", "prompt_id": range(PROMPTS), "overlap": [p in OVERLAP for p in range(PROMPTS)]}
    write_table(pd.DataFrame(overlap), place / "overlap.parquet")
    write_table(pd.DataFrame(columns=SCORE_COLUMNS), place / "image_scores.parquet")
    files = place.glob("features/*/*/*/*"), place.glob("*/*.selection.parquet")
    shown = Shown.read(*files, place / "image_scores.parquet", place / "overlap.parquet")
    rules = Rules((FID.label, IS.label), BLUR.label, replicates=50, seed=0)
    write_metrics(shown, rules, "toy", place / "metrics.parquet", place / "differences.parquet", jobs=1)
    return read_table(place / "metrics.parquet"), extractor.looks


@pytest.fixture(scope="module")
def curve(ours):
    """Our values by metric, N, radius and reference."""
    return ours[0].set_index(["metric", "n_candidates", "blur", "reference"])["value"]


def archive(path, keys, pictures=None):
    rows = pd.DataFrame(keys, columns=["prompt_id", "candidate"]).assign(caption="", scene="")
    write_archive(path, rows, [picture(*key) for key in keys] if pictures is None else pictures)


def by_torch_fidelity(folder, extractor, samples, reference, radius):
    """Their FID and IS of pictures that are blurred and written into folders."""
    for side, pictures in (("input1", samples), ("input2", reference)):
        (folder / side).mkdir()
        for number, pixels in enumerate(pictures):
            Image.fromarray(blur(pixels, radius, BLUR)).save(folder / side / f"{number:02}.png")
    found = torch_fidelity.calculate_metrics(
        input1=str(folder / "input1"),
        input2=str(folder / "input2"),
        feature_extractor=register(extractor),
        **{"fid": True, "isc": True, "cuda": False, "cache": False, "save_cpu_ram": True, "verbose": False},
    )
    return found["frechet_inception_distance"], found["inception_score_mean"]


@pytest.mark.parametrize("n", NUMBERS)
@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("reference", ["all", "no-overlap"])
def test_every_point_is_what_torch_fidelity_finds_in_two_folders(curve, extractor, tmp_path, n, radius, reference):
    """To 1e-6, for float32 may be rounded otherwise in batches of another size; nothing else differs."""
    samples = [picture(prompt, winner) for prompt, winner in enumerate(winners(n))]
    others = [pixels for prompt, pixels in enumerate(REFERENCE) if reference == "all" or prompt not in OVERLAP]
    fid, score = by_torch_fidelity(tmp_path, extractor, samples, others, radius)
    assert score > 1.1
    assert curve["fid", n, radius, reference] == pytest.approx(fid, rel=1e-6)
    assert curve["inception_score", n, radius, ""] == pytest.approx(score, rel=1e-6)


def test_the_points_of_the_curve_differ(curve):
    """By so much that the pictures of another N, radius or reference would be noticed."""
    for metric, num in (("fid", 16), ("inception_score", 8)):
        values = np.sort(curve[metric])
        assert len(values) == num
        assert (np.diff(values) / values[1:]).min() > 1e-5


def test_each_distinct_winner_is_looked_at_once_a_radius_and_nothing_else(ours):
    pictures = [*(picture(*key) for key in SHOWN), *REFERENCE]
    expected = {picture_key(blur(pixels, radius, BLUR)) for pixels, radius in itertools.product(pictures, RADII)}
    shown, drawn = len(SHOWN) + PROMPTS, PROMPTS * (len(NUMBERS) + 1)
    assert len(expected) < len(RADII) * shown < len(RADII) * drawn  # some winners are equal, some win repeatedly
    assert sorted(ours[1]) == sorted(expected)


def test_the_benchmark_agrees_with_torch_fidelity_and_prints_a_ratio():
    command = [sys.executable, "-m", "workflow.benchmarks.eval_sweep", "--quick"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^Ratio: torch-fidelity takes \d+\.\d times as long", ran.stdout, flags=re.MULTILINE), ran.stdout

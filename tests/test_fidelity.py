"""docs/fidelity.md is true: the tests it names exist and its settings have the defaults it names. Two traps more."""

import ast
import re

import numpy as np
import pytest
import torch

from dalle.config.experiment import Experiment
from dalle.config.models import DVAE
from dalle.config.sampling import Sampling
from dalle.models.dvae import encode_pictures, make_dvae
from dalle.models.transformer import Shape, Transformer
from dalle.provenance import ROOT
from dalle.sampling.sampler import Prompt, Sampler

TEXT = (ROOT / "docs/fidelity.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/\w+\.py)::(\w+)`", TEXT)))
OPEN = re.findall(r"^\| (`[a-z_.`, ]+`) \| ([a-z_]+), .+? \| (\w+) \|", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), NAMED, ids="::".join)
def test_every_test_that_the_page_names_exists(file: str, name: str) -> None:
    functions = [node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")]
    assert name in functions


@pytest.mark.parametrize(("names", "first", "chosen"), OPEN)
def test_the_settings_of_the_page_have_the_defaults_it_names(names: str, first: str, chosen: str) -> None:
    for name in re.findall(r"`(.+?)`", names):
        value = Experiment(experiment="x")
        for part in name.split("."):
            value = getattr(value, part)
        assert str(value).lower() == first
        assert chosen in (first, "paper")


def test_the_page_names_something() -> None:
    assert len(NAMED) > 30
    assert len(OPEN) >= 7


def test_drawing_with_guidance_leaves_the_captions_as_they_were() -> None:
    """The unconditional half once wrote zeros into a view of the caption."""
    torch.manual_seed(0)
    model = Transformer(Shape(16, 2, 2, 3, text_context=4, text_vocab=9, grid=3, codes=7)).eval()
    text, empty = np.array([3, 1, 2, 12]), np.array([9, 10, 11, 12])
    sampler = Sampler(model, [Prompt((0,), text)], range(8), Sampling(guidance=3.0), empty=empty)
    for batch in sampler.batches:
        sampler.draw(batch)
    assert text.tolist() == [3, 1, 2, 12]
    assert empty.tolist() == [9, 10, 11, 12]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_drawing_never_runs_the_whole_sequence(guidance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache was there once, and unused without guidance."""
    torch.manual_seed(0)
    model = Transformer(Shape(16, 2, 2, 3, text_context=4, text_vocab=9, grid=3, codes=7)).eval()
    positions = []
    monkeypatch.setattr(Transformer, "forward", lambda *_given: pytest.fail("the whole sequence was run"))
    model.blocks[0].norm1.register_forward_hook(lambda _module, given, _out: positions.append(given[0].shape[:-1]))
    sampler = Sampler(
        model,
        [Prompt((0,), np.array([3, 1, 2, 12]))],
        range(8),
        Sampling(guidance=guidance),
        empty=np.array([9, 10, 11, 12]) if guidance != 1 else None,
    )
    for batch in sampler.batches:
        sampler.draw(batch)
    steps = [shape for shape in positions if len(shape) == 1]  # a row of each candidate, and its newest cell alone
    assert len(steps) >= model.shape.cells - 1
    assert {shape[1:] for shape in positions if shape not in steps} == {(model.shape.prefix,)}


@pytest.mark.parametrize("architecture", ["patches", "published"])
def test_pictures_have_the_same_codes_every_time(architecture: str) -> None:
    torch.manual_seed(0)
    model = make_dvae(DVAE(architecture=architecture, codes=16, width=8, blocks=1, start="random")).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    codes = encode_pictures(model, pixels)
    torch.manual_seed(1)
    assert np.array_equal(encode_pictures(model.train(), pixels), codes)
    assert len(np.unique(codes)) > 1

"""The benchmark of training: its sides are of one size, its ratios are right, its failures are told in a line."""

import sys

import pytest
import torch

from dalle.models.transformer import Shape, Transformer
from workflow.benchmarks.training import (
    OURS,
    PRIOR,
    PYTORCH,
    TINY,
    TINY_DVAES,
    Taken,
    dvae_sides,
    notes,
    prior_sides,
    race,
    table_of,
)


def test_the_prior_has_about_25_million_parameters_and_256_and_1024_positions():
    with torch.device("meta"):
        model = Transformer(PRIOR)
    assert sum(each.numel() for each in model.parameters()) == pytest.approx(24e6, rel=0.02)
    assert (PRIOR.text_context, PRIOR.cells, PRIOR.codes) == (256, 1024, 8192)


def test_all_of_a_race_get_the_same_model_and_batch():
    for sides in (
        prior_sides(TINY, 3, "float32"),
        prior_sides(TINY, 3, "bf16"),
        dvae_sides("patches", {"side": 64}, 4),
    ):
        assert sides[0].name == OURS
        assert len({side.race for side in sides}) == 1
        for what in ("model", "batch", "precision"):
            assert len({side.given[what] for side in sides}) == 1
    assert all(Shape(**side.given["shape"]) == TINY for side in prior_sides(TINY, 3, "bf16"))


def test_our_sides_take_turns_and_dense_attention_has_the_same_weights():
    ours = [side for side in prior_sides(TINY, 2, "float32") if side.name.startswith(OURS)]
    found = race(ours, python="", steps=3, threads=1)
    assert list(found) == ["ours", "ours, dense attention"]
    assert all(len(taken.seconds) == 3 and min(taken.seconds) > 0 and taken.peak > 50 for taken in found.values())
    with torch.device("meta"):
        size = sum(each.numel() for each in Transformer(TINY).parameters())
    assert {taken.parameters for taken in found.values()} == {size}


@pytest.mark.parametrize("model", TINY_DVAES)
def test_a_dvae_takes_steps(model):
    found = race(dvae_sides(model, TINY_DVAES[model], 2)[:1], python="", steps=1, threads=1)
    assert found[OURS].parameters > 1000


def test_an_environment_without_dalle_pytorch_is_told_in_one_line():
    sides = [side for side in prior_sides(TINY, 2, "bf16") if side.name == PYTORCH]
    with pytest.raises(ValueError, match="cannot train: ModuleNotFoundError: No module named 'dalle_pytorch'") as error:
        race(sides, sys.executable, steps=1, threads=1)
    assert len(str(error.value).splitlines()) == 1


def test_ratios_are_of_medians():
    """2 s against 5 s, and 100 MiB against 150: by hand 2.5 times as fast, 1.5 times as small."""
    found = {"prior": {OURS: Taken((9.0, 2.0, 1.0), 100, 7), PYTORCH: Taken((5.0, 5.0, 1.0), 150, 7)}}
    assert list(notes(found)) == [f"Goal, prior: 2× {PYTORCH} and less memory: 2.50×, 1/1.50 of its peak, reached."]
    ratios = list(table_of(found).columns[4].cells)
    assert ratios == ["", "2.50×"]
    larger = {"prior": found["prior"] | {OURS: Taken((2.0,), 151, 7)}}
    assert "MISSED" in next(notes(larger))

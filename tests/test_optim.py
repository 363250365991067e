"""Closed forms of the average, the decay and the split of the parameters."""

import pytest
import torch
from torch import nn

from dalle.config.training import Optimisation
from dalle.training.average import ema_decay, start_average, update_average
from dalle.training.optim import (
    clip_second_moments,
    decay_groups,
    make_optimizers,
    set_learning_rate,
)

SETTINGS = Optimisation(steps=101, learning_rate=1.0, warmup=10, weight_decay=0.5)


def test_only_matrices_decay_and_the_groups_are_a_partition():
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    model[2].bias.requires_grad_(False)
    decayed, kept = decay_groups(model.parameters(), 0.5)
    assert [parameter.shape for parameter in decayed["params"]] == [(5, 4), (3, 4)]
    assert [parameter.shape for parameter in kept["params"]] == [(4,), (4,)]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)


def test_all_weights_decay_if_that_is_wanted():
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))
    decayed, kept = decay_groups(model.parameters(), 0.5, "all")
    assert (len(decayed["params"]), len(kept["params"])) == (4, 0)


def test_a_parameter_used_twice_is_trained_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert len(decay_groups(model.parameters(), 0.1)[0]["params"]) == 1


def test_without_gradient_a_matrix_shrinks_by_the_decay_alone():
    model = nn.Linear(2, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    [optimizer] = make_optimizers(model, SETTINGS)
    set_learning_rate([optimizer], 0.2)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.weight.data, before["weight"] * (1 - 0.2 * 0.5))
    torch.testing.assert_close(model.bias.data, before["bias"])


def test_the_absolute_convention_takes_the_decay_itself_at_the_peak():
    settings = Optimisation(steps=1, learning_rate=0.02, weight_decay=0.3, weight_decay_convention="absolute")
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    optimizers = make_optimizers(model, settings)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for share in (1.0, 0.5):
        set_learning_rate(optimizers, share * 0.02)
        optimizers[0].step()
    torch.testing.assert_close(model.weight.data, before * (1 - 0.3) * (1 - 0.15))


def test_epsilon_is_what_tiny_gradients_are_measured_against():
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    settings = Optimisation(steps=1, learning_rate=1.0, epsilon=1.0, weight_decay=0)
    [optimizer] = make_optimizers(model, settings)
    model.weight.grad = torch.full((1, 1), 1e-3)
    optimizer.step()
    assert before - model.weight.item() == pytest.approx(1e-3 / (1e-3 + 1.0), rel=1e-3)


def test_second_moments_are_cut_at_a_value():
    model = nn.Linear(2, 1, bias=False)
    optimizers = make_optimizers(model, SETTINGS)  # β₂ 0.96: 4 % of the square is its first second moment
    model.weight.grad = torch.tensor([[100.0, 1.0]])
    optimizers[0].step()
    clip_second_moments(optimizers, 5.0)
    assert optimizers[0].state[model.weight]["exp_avg_sq"].tolist() == [[5.0, pytest.approx(0.04)]]


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])


def test_muon_has_the_blocks_matrices_and_adamw_everything_else():
    model = Blocks()
    adamw, muon = make_optimizers(model, SETTINGS.model_copy(update={"optimiser": "muon"}))
    of = [{id(p) for group in each.param_groups for p in group["params"]} for each in (adamw, muon)]
    assert of[1] == {id(model.blocks[0].weight), id(model.blocks[1].weight)}
    assert of[0] == {id(p) for p in model.parameters()} - of[1]


def test_muon_without_blocks_is_refused():
    with pytest.raises(ValueError, match="adamw"):
        make_optimizers(nn.Linear(2, 2), SETTINGS.model_copy(update={"optimiser": "muon"}))


def test_muons_first_step_is_orthogonal_and_of_adamws_size():
    model = Blocks()
    settings = SETTINGS.model_copy(update={"optimiser": "muon", "weight_decay": 0.0, "learning_rate": 0.1})
    optimizers = make_optimizers(model, settings)
    before = model.blocks[0].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    for optimizer in optimizers:
        optimizer.step()
    singular = torch.linalg.svdvals((model.blocks[0].weight.detach() - before) / 0.1)
    # all four singular values near 0.2 · √4: the Newton–Schulz iteration in bf16 is only roughly orthogonal
    assert 0.2 < singular.min() <= singular.max() < 0.6


def test_the_averages_decay_grows_in():
    assert ema_decay(SETTINGS, 0) == pytest.approx(0.1)
    assert ema_decay(SETTINGS, 8) == pytest.approx(0.5)
    assert ema_decay(SETTINGS, 10_000) == 0.99
    assert ema_decay(SETTINGS.model_copy(update={"ema_grows_in": False}), 0) == 0.99


def test_the_average_is_the_weighted_mean_and_copies_integers():
    model = nn.BatchNorm1d(2)
    average = start_average(model)
    with torch.no_grad():
        model.weight.fill_(3.0)  # was 1
        model.num_batches_tracked.fill_(7)
    update_average(average, model, 0.75)
    assert average["weight"].tolist() == [1.5, 1.5]
    assert average["num_batches_tracked"] == 7

"""The paper's scales: their law in closed form, and gradients that only survive 16 bit with a scale for each branch."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dalle.models.branches import add_scaled
from dalle.training.scaling import PAUSE, BranchScales, may_update, unscale

GOOD, BAD = torch.tensor([True]), torch.tensor([False])


def after(updates: list[torch.Tensor], replicas: int = 1) -> float:
    scales = BranchScales(1, replicas)
    for finite in updates:
        scales.update(finite)
    return scales.values.item()


# The law


def test_scales_begin_at_2_to_the_13_times_the_replicas() -> None:
    assert after([]) == 2**13
    assert BranchScales(3, replicas=1024).values.tolist() == [2**23] * 3


def test_a_thousand_good_updates_double_a_scale_exactly() -> None:
    assert after([GOOD] * 1000) == 2**14
    assert after([GOOD]) == pytest.approx(2**13.001)


def test_a_bad_update_divides_by_the_root_of_two() -> None:
    assert after([BAD]) == pytest.approx(2**12.5)


def test_no_scale_is_divided_twice_within_125_updates() -> None:
    assert after([BAD] * PAUSE) == pytest.approx(2**12.5)
    assert after([BAD] * (PAUSE + 1)) == pytest.approx(2**12)
    assert after([BAD] * (2 * PAUSE + 1)) == pytest.approx(2**11.5)
    assert after([BAD] + [GOOD] * (PAUSE - 1) + [BAD]) == pytest.approx(2 ** (12 + (PAUSE - 1) / 1000))


@pytest.mark.parametrize("replicas", [1, 64])
def test_scales_stay_between_2_to_the_7_and_2_to_the_24_times_the_replicas(replicas: int) -> None:
    assert after([GOOD] * 11_500, replicas) == replicas * 2**24
    assert after([BAD] * (13 * PAUSE), replicas) == replicas * 2**7


def test_branches_have_scales_of_their_own() -> None:
    scales = BranchScales(3)
    scales.update(torch.tensor([True, False, True]))
    assert scales.values.tolist() == pytest.approx([2**13.001, 2**12.5, 2**13.001])


def test_resumed_scales_go_on_bit_for_bit() -> None:
    events = torch.rand(400, 4, generator=torch.Generator().manual_seed(0)) > 0.05
    whole, first, second = BranchScales(4), BranchScales(4), BranchScales(4)
    for event in events:
        whole.update(event)
    for event in events[:150]:
        first.update(event)
    second.load_state_dict(first.state_dict())
    for event in events[150:]:
        second.update(event)
    assert torch.equal(whole.values, second.values)
    assert torch.equal(whole.since_division, second.since_division)
    with pytest.raises(ValueError, match="scales of 4 residual branches; allowed are those of 2"):
        BranchScales(2).load_state_dict(whole.state_dict())


# The backward pass

WIDTH, DEPTH, FALL = 16, 8, 2.0**-5.5


class Fall(torch.autograd.Function):
    """Stands between blocks for what depth does: the values stay, the gradient towards the first block falls."""

    @staticmethod
    def forward(_ctx, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx, gradient: torch.Tensor) -> torch.Tensor:
        return FALL * gradient


class Branch(nn.Module):
    """Two matrices that work in the precision of what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (nn.Parameter(torch.randn(WIDTH, WIDTH) / 4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ self.up.to(x.dtype)) @ self.down.to(x.dtype)


def branches() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(Branch() for _ in range(DEPTH))


def backward(network: nn.ModuleList, add: Callable[[torch.Tensor, nn.Module, int], torch.Tensor]) -> torch.Tensor:
    """Leaves the gradients of a loss in the network; gives that of its input."""
    x = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()
    stream = x.to(next(network.parameters()).dtype)
    for number, branch in enumerate(network):
        stream = add(Fall.apply(stream), branch, number)
    (stream**2).sum(1).mean().backward()
    return x.grad


def gradients(network: nn.ModuleList) -> list[torch.Tensor]:
    return [torch.cat([branch.up.grad, branch.down.grad]).double() for branch in network]


def scaled_gradients(scales: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The unscaled gradients of each branch in float16, and whether they are finite."""
    network = branches()
    backward(network, lambda x, branch, number: add_scaled(x, branch, scales[number]))
    finite = unscale([branch.parameters() for branch in network], scales)
    return gradients(network), finite


def worst_error(scales: torch.Tensor) -> float:
    """The largest relative error of a branch's gradient; infinite where one is not finite."""
    exact = branches().double()
    backward(exact, lambda x, branch, _number: x + branch(x))
    found, finite = scaled_gradients(scales)
    errors = [((one - other).norm() / other.norm()).item() for one, other in zip(found, gradients(exact), strict=True)]
    return max(errors) if finite.all() else float("inf")


def own_scales() -> torch.Tensor:
    """What the law allows (2⁷ … 2²⁴), larger for earlier branches, whose gradients are smaller."""
    return torch.tensor([min(2.0**24, 2.0**8 / FALL ** (DEPTH - 1 - number)) for number in range(DEPTH)])


def test_gradients_underflow_or_overflow_under_every_global_scale_and_survive_with_their_own() -> None:
    of_all = {exponent: worst_error(torch.full((DEPTH,), 2.0**exponent)) for exponent in range(-4, 41)}
    assert of_all[-4] > 0.5  # something is zero
    assert of_all[40] == float("inf")  # something overflows
    assert min(of_all.values()) > 0.5  # and there is no place between
    assert worst_error(own_scales()) < 0.01


def test_bfloat16_needs_no_scale() -> None:
    network, exact = branches(), branches().double()
    backward(network, lambda x, branch, _number: add_scaled(x, branch, torch.ones(()), torch.bfloat16))
    backward(exact, lambda x, branch, _number: x + branch(x))
    for one, other in zip(gradients(network), gradients(exact), strict=True):
        assert (one - other).norm() < 0.03 * other.norm()


def test_in_float32_scales_cancel_and_the_identity_is_not_scaled() -> None:
    network, scaled, scales = branches(), branches(), own_scales()
    plain = backward(network, lambda x, branch, _number: x + branch(x))
    through = backward(scaled, lambda x, branch, number: add_scaled(x, branch, scales[number], torch.float32))
    assert unscale([branch.parameters() for branch in scaled], scales).all()
    for one, other in zip([through, *gradients(scaled)], [plain, *gradients(network)], strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()


def test_a_branch_that_overflows_is_known_and_harms_no_other() -> None:
    scales = own_scales()
    healthy, _ = scaled_gradients(scales)
    scales[4] = 2.0**40
    found, finite = scaled_gradients(scales)
    assert finite.tolist() == [number != 4 for number in range(DEPTH)]
    for later in (5, 6, 7):
        assert torch.equal(found[later], healthy[later])
    for earlier in range(4):  # they miss what would have come through the branch, and nothing more
        assert (found[earlier] - healthy[earlier]).norm() < 0.9 * healthy[earlier].norm()


def test_recomputed_branches_have_the_same_gradients() -> None:
    scales, network = own_scales(), branches()
    backward(network, lambda x, branch, number: checkpoint(add_scaled, x, branch, scales[number], use_reentrant=False))
    unscale([branch.parameters() for branch in network], scales)
    for one, other in zip(gradients(network), scaled_gradients(scales)[0], strict=True):
        assert torch.equal(one, other)


def test_one_gradient_that_is_not_finite_skips_the_update() -> None:
    finite, weight, frozen = torch.ones(3, dtype=torch.bool), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    weight.grad = torch.zeros(2)
    assert may_update(finite, [weight, frozen])
    assert not may_update(torch.tensor([True, False, True]), [weight, frozen])
    weight.grad[1] = float("nan")
    assert not may_update(finite, [weight, frozen])

"""PowerSGD of one replica against torch's hook, and what it keeps, skips and sends."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from little_stage import run_team
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.testing._internal.distributed.fake_pg import FakeStore

from dalle.config.distributed import PowerSGD as Settings
from dalle.models.compression import sent_numbers
from dalle.training.powersgd import PowerSGD

ROWS, COLUMNS, RANK = 16, 24, 3


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process, whose exchanges change nothing.

    Not of gloo: its threads may outlive the group and then, now and again, abort the process.
    """
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradient(step: int, rows: int = ROWS, columns: int = COLUMNS) -> torch.Tensor:
    """Of rank 2 and some noise."""
    generator = torch.Generator().manual_seed(step)
    low = torch.randn(rows, 2, generator=generator) @ torch.randn(2, columns, generator=generator)
    return low + 0.1 * torch.randn(rows, columns, generator=generator)


def exchange(parameters: dict[str, nn.Parameter], **settings: object) -> PowerSGD:
    matrices = {name for name in parameters if name.startswith("blocks")}
    wanted = Settings(**{"rank": RANK, "uncompressed": 0, **settings})
    return PowerSGD(wanted, parameters, matrices, shards=1, seed=0, group=None)


def compressed(settings: dict, steps: int) -> tuple[list[torch.Tensor], PowerSGD]:
    weight = nn.Parameter(torch.zeros(ROWS, COLUMNS))
    ours, out = exchange({"blocks.0": weight}, **settings), []
    for step in range(steps):
        weight.grad = gradient(step)
        ours.reduce(step)
        out.append(weight.grad.clone())
    return out, ours


class Bucket:
    """What torch's hook asks of DDP."""

    def __init__(self, flat: torch.Tensor) -> None:
        self.flat = flat

    def buffer(self) -> torch.Tensor:
        return self.flat

    def gradients(self) -> list[torch.Tensor]:
        return [self.flat.view(ROWS, COLUMNS)]

    def index(self) -> int:
        return 0

    def is_last(self) -> bool:
        return True


@pytest.mark.parametrize("fixed_q", [True, False])
def test_torchs_hook_is_the_reference(fixed_q: bool) -> None:
    assert run_team(1, compare_with_the_hook, fixed_q) == [0]


def compare_with_the_hook(fixed_q: bool) -> None:
    """In a process of its own: the hook wants the futures of a real group."""
    dist.init_process_group("gloo")
    out, ours = compressed({"fixed_q": fixed_q, "jitter": 0}, 5)
    first_q = exchange({"blocks.0": nn.Parameter(torch.zeros(1, 1))})._q("blocks.0/0", torch.empty(ROWS, COLUMNS))
    state = PowerSGDState(None, RANK, start_powerSGD_iter=2, min_compression_rate=0)
    state.iter = 2
    for step in range(5):
        if step == 0 or fixed_q:
            state.p_memory_dict[0] = torch.empty(ROWS * RANK)
            state.q_memory_dict[0] = first_q.clone().flatten()
        theirs = powerSGD_hook(state, Bucket(gradient(step).flatten())).wait()
        torch.testing.assert_close(out[step].flatten(), theirs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.errors["blocks.0/0"].flatten(), state.error_dict[0], rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("alone")
def test_a_tall_matrix_is_compressed_as_its_transpose() -> None:
    wide, tall = (nn.Parameter(torch.zeros(shape)) for shape in ((ROWS, COLUMNS), (COLUMNS, ROWS)))
    one, other = exchange({"blocks.0": wide}), exchange({"blocks.0": tall})
    for step in range(3):
        wide.grad, tall.grad = gradient(step), gradient(step).T.contiguous()
        one.reduce(step)
        other.reduce(step)
        torch.testing.assert_close(wide.grad, tall.grad.T)
        assert not torch.equal(wide.grad, gradient(step))


@pytest.mark.usefixtures("alone")
def test_what_is_not_sent_now_is_sent_later() -> None:
    out, ours = compressed({}, 40)
    wanted = sum(gradient(step) for step in range(40))
    torch.testing.assert_close(sum(out) + ours.errors["blocks.0/0"], wanted, rtol=1e-3, atol=1e-3)
    assert torch.linalg.matrix_rank(out[0]) == RANK


@pytest.mark.usefixtures("alone")
def test_the_first_updates_and_all_but_matrices_of_branches_go_whole() -> None:
    shapes = {"blocks.0.weight": (ROWS, COLUMNS), "blocks.0.bias": (ROWS,), "embed": (ROWS, COLUMNS)}
    parameters = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    ours = exchange(parameters, uncompressed=1)
    for step, whole in enumerate([set(shapes), {"blocks.0.bias", "embed"}]):
        given = {name: torch.randn(shape) for name, shape in shapes.items()}
        for name, parameter in parameters.items():
            parameter.grad = given[name].clone()
        ours.reduce(step)
        assert {name for name in shapes if torch.equal(parameters[name].grad, given[name])} == whole


@pytest.mark.usefixtures("alone")
def test_it_sends_what_the_plan_computes() -> None:
    shapes = {"blocks.0.qkv.weight": (48, 16), "blocks.0.up": (64, 16), "blocks.0.small": (4, 4), "embed": (30, 16)}
    parameters = {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    for parameter in parameters.values():
        parameter.grad = torch.randn(parameter.shape)
    ours = exchange(parameters)
    ours.reduce(0)
    matrices = [(16, 16)] * 3 + [(64, 16), (4, 4)]  # queries, keys and values are three
    assert ours.sent == 4 * (sent_numbers(matrices, RANK) + 30 * 16)


@pytest.mark.usefixtures("alone")
def test_a_gradient_that_is_not_finite_is_so_for_all_and_spoils_no_error() -> None:
    weight = nn.Parameter(torch.zeros(ROWS, COLUMNS))
    ours = exchange({"blocks.0": weight})
    weight.grad = gradient(0)
    ours.reduce(0)
    before = ours.errors["blocks.0/0"].clone()
    weight.grad = gradient(1).index_fill(0, torch.tensor(3), torch.inf)
    ours.reduce(1)
    assert weight.grad.isnan().all()
    assert torch.equal(ours.errors["blocks.0/0"], before)


def test_rank_is_that_of_the_width_divided_among_the_shards() -> None:
    with torch.device("meta"):
        block = {"blocks.0.up": nn.Parameter(torch.empty(4 * 3968, 3968))}
    assert PowerSGD(Settings(), block, set(block), shards=8, seed=0, group=None).rank == 896 // 8

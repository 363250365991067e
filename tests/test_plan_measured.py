"""The plan against models that are run: FLOPs as torch counts them, bytes as autograd and the allocator count them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dalle.config.models import DVAE
from dalle.config.training import Optimisation
from dalle.hardware import GIB
from dalle.models.attention import cell_mask
from dalle.models.dvae import DiscreteVAE
from dalle.models.likelihood import gumbel_softmax, kl_to_uniform, logit_laplace
from dalle.models.published_dvae import PublishedDVAE, PublishedShape
from dalle.models.transformer import Shape, Transformer
from dalle.plan.flops import counted_flops, dvae_loss, forward_flops, positions, seen_pairs, training_flops
from dalle.plan.memory import (
    PAPER,
    activation_bytes,
    block_bytes,
    cache_bytes,
    ours,
    ring_bytes,
    saved_bytes,
    state_bytes,
    windows_bytes,
    working_copy_bytes,
)
from dalle.plan.parameters import prior_parameters
from dalle.plan.work import dvae_without_numbers, prior_without_numbers
from dalle.training.average import start_average
from dalle.training.optim import make_optimizers

PAPER_SHAPE = Shape(3968, 62, 64, 11, text_context=256, text_vocab=16_384, grid=32, codes=8192)
SMALL = Shape(64, 4, 6, 3, text_context=16, text_vocab=32, grid=8, codes=48)
BATCH = 8


def tokens(shape: Shape, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    text = torch.zeros(batch, shape.text_context, dtype=torch.long)
    return text, torch.zeros(batch, shape.cells, dtype=torch.long)


def forward(model: Transformer, checkpointing: bool = False) -> Tensor:
    """The model's loss, if asked for with every block recomputed in the backward pass."""
    text, codes = tokens(model.shape)
    model.checkpointing = checkpointing
    text_logits, image_logits = model(text, codes)
    return F.cross_entropy(text_logits.flatten(0, 1), text.flatten()) + F.cross_entropy(
        image_logits.flatten(0, 1), codes.flatten()
    )


# FLOPs


@pytest.mark.parametrize("kind", ["row", "column", "conv"])
def test_seen_pairs_are_the_attentions_of_all_positions(kind: str) -> None:
    cells, n = cell_mask(kind, SMALL.grid, SMALL.conv_kernel), positions(SMALL)
    text = sum(range(1, SMALL.prefix + 1))
    image = sum(SMALL.prefix + int(cells[cell].sum()) for cell in range(SMALL.cells - 1))
    assert seen_pairs(SMALL, kind) == text + image < n**2


def measured_flops(checkpointing: bool) -> int:
    """Of forward and backward of one pair, as torch counts them while they run; attention unfused, or it is missed."""
    model = Transformer(SMALL)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward(model, checkpointing).backward()
    return counter.get_total_flops() // BATCH


def test_training_flops_are_those_that_torch_counts() -> None:
    flops = forward_flops(SMALL, dense=True)
    assert training_flops(flops, recompute=False) == 3 * flops.forward == measured_flops(checkpointing=False)


def test_recomputation_runs_the_blocks_once_more() -> None:
    flops = forward_flops(SMALL, dense=True)
    # torch stops recomputing where nothing more is needed: the MLP's last matrix is not multiplied again.
    spared = 2 * 4 * SMALL.width**2 * SMALL.depth * positions(SMALL)
    assert training_flops(flops, recompute=True) - spared == measured_flops(checkpointing=True)


def test_masks_cost_less_than_dense_attention_and_six_flops_a_parameter_are_most_of_it() -> None:
    masks, dense = (forward_flops(PAPER_SHAPE, dense) for dense in (False, True))
    assert masks.matrices == dense.matrices
    assert masks.attention < 0.25 * dense.attention
    assert 3 * masks.forward == pytest.approx(6 * 12.09e9 * 1280, rel=0.02)


def test_counted_flops_and_saved_bytes_are_those_of_a_convolution() -> None:
    with torch.device("meta"):
        conv, images = nn.Conv2d(3, 5, 3, padding=1), torch.empty(2, 3, 8, 8)
    assert counted_flops(lambda: conv(images)) == 2 * 9 * 3 * 5 * 64 * 2
    assert saved_bytes(lambda: conv(images).relu().exp()) == 4 * (2 * 3 * 64 + 2 * 5 * 64 + 2 * 5 * 64)


@pytest.mark.parametrize("architecture", ["ours", "published"])
def test_a_dvae_without_numbers_computes_and_keeps_as_much_as_one_with_them(architecture: str) -> None:
    if architecture == "ours":
        settings = DVAE(codes=12, width=8)
        model, planned = DiscreteVAE(settings), dvae_without_numbers(settings)
    else:
        shape = PublishedShape(codes=12, width=8, code_width=4)
        model = PublishedDVAE(shape)
        with torch.device("meta"):
            planned = PublishedDVAE(shape)
    assert all(parameter.is_meta for parameter in planned.parameters())
    images = torch.rand(1, 3, 32, 32)

    def run() -> Tensor:
        logits = model.logits(images)
        mu, log_scale = model.decoder(gumbel_softmax(logits, 1.0, torch.Generator()))
        return logit_laplace(images, mu, log_scale).mean() + kl_to_uniform(logits)

    assert counted_flops(lambda: dvae_loss(planned, 32)) == counted_flops(run) > 0
    assert saved_bytes(lambda: dvae_loss(planned, 32)) == pytest.approx(saved_bytes(run), rel=0.01)


# Memory


def state_in_use(settings: Optimisation) -> int:
    """Bytes of weights, gradients, average and optimiser's moments after an update."""
    model = Transformer(SMALL)
    optimizers = make_optimizers(model, settings)
    forward(model).backward()
    for optimizer in optimizers:
        optimizer.step()
    moments = [value for each in optimizers for state in each.state.values() for value in state.values()]
    gradients = [parameter.grad for parameter in model.parameters()]
    kept = [*model.parameters(), *gradients, *start_average(model).values(), *(m for m in moments if m.ndim > 0)]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_state_is_what_an_update_leaves(optimiser: str) -> None:
    settings = Optimisation(steps=1, optimiser=optimiser)
    parameters = prior_parameters(Transformer(SMALL))
    assert state_bytes(parameters, ours(settings), 1) == state_in_use(settings)


def test_shards_divide_the_state() -> None:
    parameters, precision = prior_parameters(Transformer(SMALL)), ours(Optimisation(steps=1))
    whole = state_bytes(parameters, precision, 1)
    assert whole == 20 * parameters.total
    assert [state_bytes(parameters, precision, shards) * shards for shards in (2, 8)] == pytest.approx([whole] * 2)
    assert working_copy_bytes(parameters, SMALL, 1) == 2 * parameters.matrices
    assert working_copy_bytes(parameters, SMALL, 8) == 2 * 2 * 12 * SMALL.width**2


def test_the_papers_state_fits_into_its_gpus_with_sharding_and_checkpointing_only() -> None:
    """§2.4: 24 GB of 16-bit weights on GPUs of 16 GB, one picture on each, 8 shards."""
    parameters = prior_parameters(prior_without_numbers(PAPER_SHAPE))
    assert 2 * parameters.matrices == pytest.approx(24e9, rel=0.01)

    def needed(shards: int, checkpointing: bool) -> int:
        copy = working_copy_bytes(parameters, PAPER_SHAPE, shards)
        return state_bytes(parameters, PAPER, shards) + copy + activation_bytes(PAPER_SHAPE, 1, checkpointing)

    fits = {(shards, again): needed(shards, again) < 16 * GIB for shards in (1, 8) for again in (False, True)}
    assert fits == {(1, False): False, (1, True): False, (8, False): False, (8, True): True}


def test_a_block_keeps_what_autograd_saves() -> None:
    model = Transformer(SMALL)
    n, copies = positions(SMALL), 2 * 12 * SMALL.width**2
    x = torch.randn(BATCH, n, SMALL.width, requires_grad=True)

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model.blocks[0](x, model.attend("row"))

    assert saved_bytes(run) - copies == block_bytes(SMALL, BATCH)


@pytest.mark.parametrize("wrap", ["raster", "clamp"])
@pytest.mark.parametrize("kind", ["row", "column", "conv"])
@pytest.mark.parametrize("grid", [8, 24])
def test_a_block_in_windows_keeps_what_autograd_saves(kind: str, wrap: str, grid: int) -> None:
    shape = Shape(**vars(SMALL) | {"conv_wrap": wrap, "grid": grid})
    model, copies = Transformer(shape, "windows"), 2 * 12 * shape.width**2
    x = torch.randn(2, positions(shape), shape.width, requires_grad=True)

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model.blocks[0](x, model.attend(kind))

    planned = block_bytes(shape, 2) + windows_bytes(shape, 2, kind)
    assert 0.95 * planned < saved_bytes(run) - copies < 1.001 * planned


def peak(run: Callable[[], None], folder: Path) -> int:
    """The most bytes that the CPU's allocator gave out while ``run`` ran, above those it had given out before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    profiler.export_chrome_trace(str(folder / "trace.json"))
    trace = json.loads((folder / "trace.json").read_text())["traceEvents"]
    events = sorted((event for event in trace if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    before = events[0]["args"]["Total Allocated"] - events[0]["args"]["Bytes"]
    return max(event["args"]["Total Allocated"] for event in events) - before


@pytest.mark.parametrize(
    "shape",
    [Shape(**vars(SMALL) | {"depth": 12}), Shape(**vars(SMALL) | {"depth": 2, "codes": 2000, "text_vocab": 2000})],
    ids=["deep", "many-codes"],
)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_as_large_as_measured(shape: Shape, checkpointing: bool, tmp_path: Path) -> None:
    """bf16 on the CPU. Beside activations there are the 16-bit matrices and, towards the end, gradients."""
    model = Transformer(shape)
    parameters = prior_parameters(model)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(model, checkpointing)
        loss.backward()

    run()
    for parameter in model.parameters():  # so that their own memory is not taken within the measurement
        parameter.grad.zero_()
    planned = activation_bytes(shape, BATCH, checkpointing) + working_copy_bytes(parameters, shape, 1)
    assert peak(run, tmp_path) == pytest.approx(planned, rel=0.1)


def test_the_papers_cache_is_that_of_the_paper_notes() -> None:
    assert cache_bytes(PAPER_SHAPE) / GIB == pytest.approx(1.21, abs=0.005)


@pytest.mark.parametrize(("depth", "kinds"), [(1, ["conv"]), (2, ["row", "conv"]), (3, ["row", "column", "conv"])])
def test_rings_hold_every_cell_that_will_be_seen_again(depth: int, kinds: list[str]) -> None:
    shape = Shape(**vars(SMALL) | {"depth": depth})
    needed = 0
    for kind in kinds:
        mask = cell_mask(kind, shape.grid, shape.conv_kernel)
        alive = [int(mask[cell:, : cell + 1].any(0).sum()) for cell in range(shape.cells)]
        # A column layer could forget the columns that the last row has passed; it keeps them.
        needed += shape.cells if kind == "column" else max(alive)
    assert ring_bytes(shape) == 2 * 2 * shape.width * needed

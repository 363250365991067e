"""The plan against models that are run: FLOPs as torch counts them, bytes as autograd and the allocator count them."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dalle.config.distributed import Distributed, PowerSGD
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
    Precision,
    activation_bytes,
    block_bytes,
    cache_bytes,
    ends_bytes,
    optimiser_bytes,
    ours,
    ring_bytes,
    saved_bytes,
    weights_bytes,
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


DTYPES = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("float32", "bf16")


def in_precision(name: str) -> AbstractContextManager:
    return torch.autocast("cpu", DTYPES[name]) if DTYPES[name] else nullcontext()


def planned_precision(name: str) -> Precision:
    return ours(Optimisation(steps=1, precision=name))


def state_in_use(settings: Optimisation) -> tuple[int, int]:
    """Bytes of weights, and of gradients, average and optimiser's moments, after an update."""
    model = Transformer(SMALL)
    optimizers = make_optimizers(model, settings)
    forward(model).backward()
    for optimizer in optimizers:
        optimizer.step()
    moments = [value for each in optimizers for state in each.state.values() for value in state.values()]
    gradients = [parameter.grad for parameter in model.parameters()]
    kept = [*gradients, *start_average(model).values(), *(m for m in moments if m.ndim > 0)]
    return tuple(sum(tensor.numel() * tensor.element_size() for tensor in each) for each in (model.parameters(), kept))


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_state_is_what_an_update_leaves(optimiser: str) -> None:
    settings = Optimisation(steps=1, optimiser=optimiser)
    parameters, precision = prior_parameters(Transformer(SMALL)), ours(settings)
    planned = weights_bytes(parameters, precision, 1), optimiser_bytes(parameters, precision, 1)
    assert planned == state_in_use(settings)


def test_powersgd_keeps_an_error_for_every_number_of_a_matrix() -> None:
    parameters = prior_parameters(Transformer(SMALL))
    plain, compressed = (
        optimiser_bytes(parameters, ours(Optimisation(steps=1, distributed=Distributed(powersgd=wanted))), 1)
        for wanted in (None, PowerSGD())
    )
    assert compressed - plain == 4 * parameters.matrices


def test_shards_divide_the_state() -> None:
    parameters, precision = prior_parameters(Transformer(SMALL)), planned_precision("bf16")
    for of, whole in ((weights_bytes, 4 * parameters.total), (optimiser_bytes, 16 * parameters.total)):
        assert [of(parameters, precision, shards) * shards for shards in (1, 2, 8)] == pytest.approx(
            [whole] * 3, rel=1e-4
        )
    assert working_copy_bytes(parameters, SMALL, precision, 1) == 2 * parameters.matrices
    assert working_copy_bytes(parameters, SMALL, precision, 8) == 2 * 2 * 12 * SMALL.width**2
    assert working_copy_bytes(parameters, SMALL, planned_precision("float32"), 1) == 0
    assert working_copy_bytes(parameters, SMALL, planned_precision("float32"), 8) == 4 * 2 * 12 * SMALL.width**2


def test_the_papers_state_fits_into_its_gpus_with_sharding_and_checkpointing_only() -> None:
    """§2.4: 24 GB of 16-bit weights on GPUs of 16 GB, one picture on each, 8 shards."""
    parameters = prior_parameters(prior_without_numbers(PAPER_SHAPE))
    assert 2 * parameters.matrices == pytest.approx(24e9, rel=0.01)

    def needed(shards: int, checkpointing: bool) -> int:
        state = sum(of(parameters, PAPER, shards) for of in (weights_bytes, optimiser_bytes))
        copy = working_copy_bytes(parameters, PAPER_SHAPE, PAPER, shards)
        return state + copy + activation_bytes(PAPER_SHAPE, 1, PAPER.number, checkpointing)

    fits = {(shards, again): needed(shards, again) < 16 * GIB for shards in (1, 8) for again in (False, True)}
    assert fits == {(1, False): False, (1, True): False, (8, False): False, (8, True): True}


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_block_keeps_what_autograd_saves(name: str) -> None:
    model, precision = Transformer(SMALL), planned_precision(name)
    copies = working_copy_bytes(prior_parameters(model), SMALL, precision, 1) // SMALL.depth
    x = torch.randn(BATCH, positions(SMALL), SMALL.width, requires_grad=True)

    def run() -> Tensor:
        with in_precision(name):
            return model.blocks[0](x, model.attend("row"))

    assert saved_bytes(run) - copies == block_bytes(SMALL, BATCH, precision.number)


@pytest.mark.parametrize("wrap", ["raster", "clamp"])
@pytest.mark.parametrize("kind", ["row", "column", "conv"])
@pytest.mark.parametrize(("grid", "name"), [(8, "fp16"), (24, "fp16"), (24, "float32")])
def test_a_block_in_windows_keeps_what_autograd_saves(kind: str, wrap: str, grid: int, name: str) -> None:
    """Not in bf16: there a CPU takes another road than a GPU (dalle/models/sparse_attention.py)."""
    shape, precision = Shape(**vars(SMALL) | {"conv_wrap": wrap, "grid": grid}), planned_precision(name)
    model = Transformer(shape, "windows")
    copies = working_copy_bytes(prior_parameters(model), shape, precision, 1) // shape.depth
    x = torch.randn(2, positions(shape), shape.width, requires_grad=True)

    def run() -> Tensor:
        with in_precision(name):
            return model.blocks[0](x, model.attend(kind))

    planned = block_bytes(shape, 2, precision.number) + windows_bytes(shape, 2, kind, precision.number)
    assert 0.95 * planned < saved_bytes(run) - copies < 1.001 * planned


def test_the_ends_keep_what_autograd_saves() -> None:
    """Behind the last block: without the two gradients that begin the backward pass, and with the targets."""
    shape = Shape(**vars(SMALL) | {"codes": 500})
    model, (text, codes) = Transformer(shape), tokens(shape)
    x = torch.randn(BATCH, positions(shape), shape.width, requires_grad=True)

    def run() -> Tensor:
        with in_precision("bf16"):
            text_logits = model._logits(model.text_head, x[:, : shape.text_context])
            image_logits = model.image_logits(x[:, shape.prefix - 1 :])
            found = F.cross_entropy(text_logits.flatten(0, 1), text.flatten())
            return found + F.cross_entropy(image_logits.flatten(0, 1), codes.flatten())

    logits = max(shape.text_context * (shape.text_vocab + 1), shape.cells * shape.codes)
    targets = 8 * (shape.text_context + shape.cells)
    assert saved_bytes(run) == pytest.approx(ends_bytes(shape, BATCH) + BATCH * (targets - 8 * logits), rel=0.01)


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
@pytest.mark.parametrize("name", PRECISIONS)
def test_activations_are_as_large_as_measured(shape: Shape, checkpointing: bool, name: str, tmp_path: Path) -> None:
    """On the CPU. Beside activations there are 16-bit matrices: recomputed, those of one block at a time."""
    model, precision = Transformer(shape), planned_precision(name)
    parameters = prior_parameters(model)

    def run() -> None:
        with in_precision(name):
            loss = forward(model, checkpointing)
        loss.backward()

    run()
    for parameter in model.parameters():  # so that their own memory is not taken within the measurement
        parameter.grad.zero_()
    planned = activation_bytes(shape, BATCH, precision.number, checkpointing)
    planned += working_copy_bytes(parameters, shape, precision, 1) // (shape.depth if checkpointing else 1)
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

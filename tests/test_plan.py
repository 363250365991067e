"""The plan in closed form: parameters, traffic, time and disk, and the paper's own numbers; how it is shown."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from dalle.config.distributed import Distributed, PowerSGD
from dalle.config.reading import load_config
from dalle.config.training import Optimisation
from dalle.hardware import CHIPS, GIB, Chip
from dalle.models.attention import cell_mask
from dalle.models.compression import default_rank, sent_numbers
from dalle.models.transformer import Shape, Transformer
from dalle.plan.cost import (
    Cluster,
    candidates_bytes,
    checkpoint_bytes,
    codes_bytes,
    find_chip,
    gpu_hours,
    seen_in_all_layers,
    step_seconds,
)
from dalle.plan.memory import activation_bytes, optimiser_bytes, ours, weights_bytes, working_copy_bytes
from dalle.plan.parameters import PriorParameters, num_parameters, prior_parameters
from dalle.plan.report import plan, show
from dalle.plan.traffic import (
    PAPER_WIDTHS,
    all_reduce_bytes,
    between_machines_bytes,
    block_shards,
    compression,
    within_machine_bytes,
)
from dalle.plan.work import prior_without_numbers, read_work
from dalle.provenance import ROOT

PAPER_SHAPE = Shape(3968, 62, 64, 11, text_context=256, text_vocab=16_384, grid=32, codes=8192)
SMALL = Shape(64, 4, 6, 3, text_context=16, text_vocab=32, grid=8, codes=48)


# Parameters


def test_the_papers_blocks_have_twelve_billion_parameters() -> None:
    parameters = prior_parameters(prior_without_numbers(PAPER_SHAPE))
    assert parameters.blocks == pytest.approx(12.0e9, rel=0.01)
    assert parameters.matrices == 12 * 3968**2 * 64 == 12_092_178_432
    assert parameters.gains == 13 * 3968 * 64
    assert parameters.total == 12_292_844_929


@pytest.mark.parametrize(("width", "heads", "billions"), [(1920, 30, 2.8), (2688, 42, 5.6)])
def test_the_papers_smaller_models_have_as_many_parameters_as_it_says(width: int, heads: int, billions: float) -> None:
    shape = Shape(**vars(PAPER_SHAPE) | {"width": width, "heads": heads})
    assert shape.width == 64 * shape.heads
    blocks = prior_parameters(prior_without_numbers(Shape(**vars(shape) | {"depth": 2}))).blocks * 32
    assert blocks == pytest.approx(billions * 1e9, rel=0.015)


def test_every_parameter_is_in_one_part() -> None:
    model = Transformer(SMALL)
    parameters = prior_parameters(model)
    assert parameters.total == num_parameters(model)
    assert parameters.matrices == 12 * SMALL.width**2 * SMALL.depth
    vocabularies = 2 * SMALL.text_context + SMALL.text_vocab + SMALL.codes + 2 * SMALL.grid + 2
    assert parameters.embeddings == SMALL.width * vocabularies
    assert parameters.heads == (SMALL.width + 1) * (SMALL.text_vocab + 1 + SMALL.codes) + 2 * SMALL.width


# Traffic


@pytest.mark.parametrize(("width", "rank", "percent"), [(1920, 512, 83.3), (2688, 640, 85.1), (3968, 896, 85.9)])
def test_compression_is_that_of_the_papers_table(width: int, rank: int, percent: float) -> None:
    assert round(100 * compression(width, rank), 1) == percent
    assert compression(width, rank) == pytest.approx(1 - 5 * rank / (8 * width))
    assert default_rank(width) == rank == PAPER_WIDTHS[width]


def test_powersgd_sends_its_two_factors() -> None:
    matrices = block_shards(64, 4)
    assert sum(m * n for m, n in matrices) == 12 * 64**2 / 4
    sent = 0
    for m, n in matrices:
        gradient, q = torch.randn(m, n), torch.randn(n, 3)
        p = gradient @ q
        sent += p.numel() + (gradient.T @ torch.linalg.qr(p).Q).numel()
    assert sent_numbers(matrices, 3) == sent


def test_no_matrix_costs_more_compressed_than_plain() -> None:
    assert sent_numbers([(8, 8), (1000, 1000)], 16) == 64 + 16 * 2000
    assert compression(96, default_rank(96), shards=1) == 0


def test_a_ring_all_reduce_passes_every_chunk_round_twice() -> None:
    members, payload = 5, 100
    sent = 0
    for _pass in ("reduce", "gather"):
        for _step, _next in pairwise(range(members)):
            sent += payload // members
    assert all_reduce_bytes(payload, members) == sent
    assert all_reduce_bytes(payload, 1) == 0


def test_between_machines_matrices_are_compressed_and_the_rest_is_not() -> None:
    parameters = PriorParameters(matrices=12 * 64**2 * 6, gains=800, embeddings=8000, heads=80)
    plain, sent = (between_machines_bytes(parameters, SMALL, 2, 8, rank) for rank in (None, 16))
    assert plain == (2 * parameters.matrices + 4 * 8880) // 8
    saved = compression(64, 16) * 2 * parameters.matrices / 8
    assert plain - sent == pytest.approx(saved)
    assert between_machines_bytes(parameters, SMALL, 1, 8, None) == 0


def test_within_a_machine_weights_are_gathered_twice_and_gradients_scattered_once() -> None:
    parameters = PriorParameters(matrices=8000, gains=0, embeddings=0, heads=0)
    assert within_machine_bytes(parameters, 8) == 3 * 7 * (2 * 8000 // 8)
    assert within_machine_bytes(parameters, 1) == 0


# Time and disk


def test_gpu_hours_are_flops_over_what_the_chip_makes_use_of() -> None:
    assert gpu_hours(3600 * 125 * 10**12 * 10 // 4, Cluster(CHIPS["V100"], 8, 8, 0.25)) == pytest.approx(10)


def test_a_decoding_step_reads_the_weights_once_and_each_rows_keys_and_values() -> None:
    parameters = prior_parameters(prior_without_numbers(SMALL))
    slow_memory = Chip("", flops=1e30, memory=GIB, bandwidth=1e6)
    one, three = (step_seconds(SMALL, parameters, rows, slow_memory) for rows in (1, 3))
    masks = [cell_mask(kind, 8, 3).sum() for kind in ("row", "column", "row", "row", "row", "conv")]
    seen = SMALL.depth * SMALL.prefix + float(sum(masks)) / SMALL.cells
    assert seen_in_all_layers(SMALL) == pytest.approx(seen)
    assert (three - one) / 2 == pytest.approx(4 * SMALL.width * seen / 1e6)
    assert one - (three - one) / 2 == pytest.approx(2 * (parameters.matrices + SMALL.width * SMALL.codes) / 1e6)


def test_many_rows_are_bound_by_the_chips_arithmetic() -> None:
    parameters = prior_parameters(prior_without_numbers(SMALL))
    fast_memory = Chip("", flops=1e9, memory=GIB, bandwidth=1e30)
    matmuls = 2 * (parameters.matrices + SMALL.width * SMALL.codes)
    assert step_seconds(SMALL, parameters, 5, fast_memory) == pytest.approx(5 * matmuls / 1e9)


def test_the_papers_candidates_and_codes_on_disk() -> None:
    assert candidates_bytes(PAPER_SHAPE, 30_000 * 512) == pytest.approx(31.5e9 + 0.5e9, rel=0.01)
    assert codes_bytes(PAPER_SHAPE, 250_000_000) == 512e9


def test_a_checkpoint_has_the_state_once_and_every_replicas_errors() -> None:
    parameters = PriorParameters(100, 10, 0, 0)
    alone, muon = Optimisation(steps=1), Optimisation(steps=1, optimiser="muon")
    assert [checkpoint_bytes(parameters, each, 8) for each in (alone, muon)] == [4 * 4 * 110, 4 * (3 * 100 + 4 * 10)]
    for kind, shards, replicas in (("ddp", None, 8), ("fsdp", 4, 2), ("fsdp", None, 0)):
        shared = Distributed(kind=kind, shards=shards, powersgd=PowerSGD())
        compressed = alone.model_copy(update={"distributed": shared})
        assert checkpoint_bytes(parameters, compressed, 8) == 4 * (4 * 110 + replicas * 100)


# The report


@pytest.mark.parametrize("config", sorted((ROOT / "workflow/config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_has_a_plan(config: Path, capsys: pytest.CaptureFixture) -> None:
    sections = plan(config, gpus=1, machine=1)
    assert all(len(row) == len(section.columns) for section in sections for row in section.rows)
    show(sections, Console(width=200))
    shown = capsys.readouterr().out
    assert all(section.title in shown for section in sections)
    assert "83.3%" in shown


@pytest.mark.parametrize("name", ["coco", "cub"])
def test_the_experiments_on_photographs_fit_the_gpus_that_they_name(name: str) -> None:
    """Weights, moments, average, 16-bit copy and activations of the prior: at the batch of the config, and at the
    largest of which its comment says that 80 GB hold it."""
    text = (ROOT / f"workflow/config/{name}.yaml").read_text(encoding="utf-8")
    work = read_work(load_config(yaml.safe_load(text)))
    parameters, precision = prior_parameters(prior_without_numbers(work.shape)), ours(work.prior)
    state = weights_bytes(parameters, precision, shards=1) + optimiser_bytes(parameters, precision, shards=1)

    def held(batch: int) -> int:
        copy = working_copy_bytes(parameters, work.shape, precision, shards=1)
        return state + copy + activation_bytes(work.shape, batch, precision.number, False, work.attention)

    words = re.sub(r"\n# ", " ", text)
    millions, total = re.search(r"prior, (\d+) million parameters.*? ([\d.]+) GiB(?: in all|, 0)", words).groups()
    assert round(parameters.total / 1e6) == int(millions)
    assert held(work.prior.batch_size) / GIB == pytest.approx(float(total), abs=0.05)
    assert held(work.prior.batch_size) < 24e9
    assert held(int(re.search(r"80 GB hold a batch of (\d+)", words)[1])) < 80e9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chip": "Z80"}, "chip 'Z80' is not known; known are V100, RTX4090, A100, H100, H200"),
        (
            {"gpus": 3, "machine": 1},
            "3 GPUs cannot share prior.optimisation.batch_size = 32: allowed are multiples of 3",
        ),
        ({"gpus": 12, "machine": 8}, "12 GPUs, 8 a machine: allowed are whole machines"),
        ({"gpus": 0, "machine": 1}, "0 GPUs, 1 a machine"),
        ({"mfu": 0.0}, "mfu 0.0: allowed are shares above 0, up to 1"),
    ],
)
def test_hardware_that_cannot_be_is_refused(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        plan(ROOT / "workflow/config/scenes.yaml", **({"gpus": 1, "machine": 1} | options))


def test_a_missing_or_mistyped_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: there is no such file"):
        plan(tmp_path / "none.yaml")
    (tmp_path / "typo.yaml").write_text("experiment: typo\nprior: {widht: 3}\n")
    with pytest.raises(ValueError, match=r"prior\.widht is unknown; did you mean width\?"):
        plan(tmp_path / "typo.yaml")
    assert find_chip("H100").flops == 989e12


# Photographs


@pytest.mark.parametrize(
    ("data", "pairs", "prompts"),
    [
        ({"kind": "coco", "folder": "x"}, 118_287, 5_000),
        ({"kind": "coco", "folder": "x", "year": 2014, "captions": "all", "prompts": 30_000}, 82_783, 30_000),
        ({"kind": "coco", "folder": "x", "karpathy": "k", "train": ["train", "restval"], "views": 5}, 566_435, 5_000),
        ({"kind": "cub", "folder": "x"}, 8_855, 29_330),
        ({"kind": "cub", "folder": "x", "captions": "one", "held_back": 0.5, "pictures": 100}, 100, 1_466),
        ({"kind": "imagefolder", "folder": "x", "pictures": 300, "prompts": 70, "views": 2}, 600, 70),
    ],
)
def test_pictures_and_prompts_are_those_of_the_published_sets(data: dict, pairs: int, prompts: int) -> None:
    work = read_work(load_config({"experiment": "x", "data": data}))
    assert (work.pairs, work.prompts, work.suites) == (pairs, prompts, 1)


def test_of_anybodys_photographs_the_settings_must_say_how_many() -> None:
    with pytest.raises(
        ValueError, match=r"only the source knows .* imagefolder holds; set data\.pictures and data\.pro"
    ):
        read_work(load_config({"experiment": "x", "data": {"kind": "imagefolder", "folder": "x"}}))

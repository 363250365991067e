"""The plan as tables: ``plan`` computes them, ``show`` prints them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dalle.config.reading import load_config, read_yaml
from dalle.models.compression import default_rank
from dalle.plan.cost import (
    Cluster,
    candidates_bytes,
    checkpoint_bytes,
    codes_bytes,
    find_chip,
    gpu_hours,
    sampling_hours,
)
from dalle.plan.flops import counted_flops, dvae_loss, forward_flops, learnt_tokens, training_flops
from dalle.plan.memory import (
    HALF,
    PAPER,
    activation_bytes,
    cache_bytes,
    optimiser_bytes,
    ours,
    ring_bytes,
    saved_bytes,
    weights_bytes,
    working_copy_bytes,
)
from dalle.plan.parameters import PriorParameters, num_parameters, prior_parameters
from dalle.plan.traffic import (
    GPUS_A_MACHINE,
    PAPER_WIDTHS,
    between_machines_bytes,
    compression,
    within_machine_bytes,
)
from dalle.plan.work import Work, dvae_without_numbers, prior_without_numbers, read_work

if TYPE_CHECKING:
    from rich.console import Console

PAPER_LAYERS = 64


@dataclass(frozen=True)
class Section:
    """One table: its columns' names, and rows of as many texts."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def plan(
    config: str | Path, chip: str = "H100", gpus: int = 64, machine: int = GPUS_A_MACHINE, mfu: float = 0.4
) -> list[Section]:
    """What the experiment of a config file costs on ``gpus`` chips, ``machine`` of them in each machine.

    Raises ValueError for a config that is none, an unknown chip, and a batch that the GPUs cannot share.
    """
    work = read_work(load_config(read_yaml(config)))
    cluster = Cluster(find_chip(chip), gpus, machine, mfu)
    batch, parts = work.prior.batch_size, gpus * work.prior.accumulate
    if batch % parts:
        raise ValueError(
            f"{gpus} GPUs cannot share prior.optimisation.batch_size = {batch}: allowed are multiples of {parts}, "
            "GPUs × accumulate"
        )
    parameters = prior_parameters(prior_without_numbers(work.shape))
    return [
        _parameters(work, parameters),
        _computation(work, cluster),
        _memory(work, parameters, cluster),
        _traffic(work, parameters, cluster),
        _paper_ranks(),
        _dvae(work, cluster),
        _sampling(work, parameters, cluster),
        _disk(work, parameters, cluster),
    ]


def _parameters(work: Work, counted: PriorParameters) -> Section:
    parts = {
        "matrices of the blocks": counted.matrices,
        "gains and biases of the blocks": counted.gains,
        "embeddings": counted.embeddings,
        "heads and last norm": counted.heads,
    }
    rows = [(name, _count(number), f"{number / counted.total:.1%}") for name, number in parts.items()]
    shape = work.shape
    title = f"Prior: {shape.depth} layers, {shape.heads} heads, width {shape.width}"
    whole = [("blocks", _count(counted.blocks), f"{counted.blocks / counted.total:.1%}")]
    return Section(title, ("parameters", "number", "share"), [*rows, *whole, ("all", _count(counted.total), "100.0%")])


def _computation(work: Work, cluster: Cluster) -> Section:
    """FLOPs, as the masks need them and as dense attention computes them. Time is of what the masks need."""
    settings, tokens = work.prior, learnt_tokens(work.shape)
    rows = []
    for name, dense in (("masks", False), ("dense attention", True)):
        flops = forward_flops(work.shape, dense)
        one, again = training_flops(flops, recompute=False), training_flops(flops, recompute=True)
        update = one * settings.batch_size
        hours = gpu_hours(update * settings.steps, cluster)
        texts = (
            _si(one / tokens),
            _si(update),
            _si(again * settings.batch_size),
            f"{flops.attention / flops.forward:.1%}",
        )
        rows.append((name, *texts, _number(hours), _number(hours / cluster.gpus / 24)))
    title = (
        f"Training: {settings.steps:,} updates of {settings.batch_size:,} pairs, {tokens:,} tokens each; "
        f"{cluster.gpus:,} × {cluster.chip.name}, MFU {cluster.mfu:.0%}"
    )
    names = ("FLOPs of", "a token", "an update", "… recomputing", "of it attention", "GPU-hours", "days")
    return Section(title, names, rows)


def _memory(work: Work, parameters: PriorParameters, cluster: Cluster) -> Section:
    """A GPU's part of the batch; in our precision and in the paper's; shards: none, a machine, all GPUs."""
    shape, batch = work.shape, work.prior.batch_size // (cluster.gpus * work.prior.accumulate)
    rows = []
    for precision in (ours(work.prior), PAPER):
        kept, recomputed = (
            activation_bytes(shape, batch, precision.number, again, work.attention) for again in (False, True)
        )
        for shards in sorted({1, cluster.machine, cluster.gpus}):
            weights, optimiser = (of(parameters, precision, shards) for of in (weights_bytes, optimiser_bytes))
            copy = working_copy_bytes(parameters, shape, precision, shards)
            sums = [weights + optimiser + copy + activations for activations in (kept, recomputed)]
            fits = ["yes" if total <= cluster.chip.memory else "no" for total in sums]
            texts = map(_memory_size, (weights, optimiser, copy, kept, sums[0], recomputed, sums[1]))
            rows.append((precision.name, f"{shards:,}", *texts, " / ".join(fits)))
    title = f"Memory a GPU: batch {batch} at a time; {cluster.chip.name} has {_memory_size(cluster.chip.memory)}"
    kinds = ("weights", "optimiser", "copy", "activations", "sum", "checkpointed", "sum ")
    return Section(title, ("precision", "shards", *kinds, "fits"), rows)


def _traffic(work: Work, parameters: PriorParameters, cluster: Cluster) -> Section:
    shape, compressed = work.shape, work.prior.distributed.powersgd
    rank = (compressed and compressed.rank) or default_rank(shape.width)
    rows = []
    for name, used in (("plain", None), (f"PowerSGD, rank {rank}", rank)):
        sent = between_machines_bytes(parameters, shape, cluster.machines, cluster.machine, used)
        share = 0.0 if used is None else compression(shape.width, used, cluster.machine)
        rows.append((f"between machines ({cluster.machines:,}), {name}", _size(sent), f"{share:.1%}"))
    rows.append(("within a machine", _size(within_machine_bytes(parameters, cluster.machine)), ""))
    title = f"Sent by a GPU in an update, weights in {cluster.machine} shards"
    return Section(title, ("exchange", "sent", "matrices compressed"), rows)


def _paper_ranks() -> Section:
    rows = [
        (f"{width:,}", _count(12 * width**2 * PAPER_LAYERS), f"{rank}", f"{compression(width, rank):.1%}")
        for width, rank in PAPER_WIDTHS.items()
    ]
    title = f"PowerSGD as in the paper (table 1): {PAPER_LAYERS} layers, {GPUS_A_MACHINE} shards"
    return Section(title, ("width", "effective parameters", "rank", "compression"), rows)


def _dvae(work: Work, cluster: Cluster) -> Section:
    """Counted by torch on the meta device: FLOPs of a forward pass, times 3; float32 tensors kept for the backward."""
    model, settings = dvae_without_numbers(work.dvae), work.dvae.optimisation

    def forward() -> object:
        return dvae_loss(model, work.image_size)

    flops = 3 * counted_flops(forward)
    hours = gpu_hours(flops * settings.batch_size * settings.steps, cluster)
    rows = [
        ("encoder's parameters", _count(num_parameters(model.encoder))),
        ("decoder's parameters", _count(num_parameters(model.decoder))),
        ("FLOPs a picture, forward and backward", _si(flops)),
        ("activations a picture, float32", _memory_size(saved_bytes(forward))),
        ("GPU-hours", _number(hours)),
    ]
    title = f"dVAE: {settings.steps:,} updates of {settings.batch_size:,} pictures of {work.image_size} pixels"
    return Section(title, ("", "number"), rows)


def _sampling(work: Work, parameters: PriorParameters, cluster: Cluster) -> Section:
    """Time at the chip's peak: it is what cannot be undercut, not what to expect."""
    shape, drawings = work.shape, work.prompts * work.candidates
    hours = sampling_hours(shape, parameters, drawings, work.rows, cluster.chip)
    weights, ring = HALF * parameters.total, ring_bytes(shape)
    rows = [
        ("candidates", f"{drawings:,}"),
        ("codes to draw", _si(drawings * shape.cells)),
        ("16-bit weights", _memory_size(weights)),
        ("keys and values of a candidate", _memory_size(cache_bytes(shape))),
        ("… those that masks reach, without the caption's", _memory_size(ring)),
        ("… of which a GPU has room for", f"{max(0, cluster.chip.memory - weights) // ring:,}"),
        (f"GPU-hours at best, {work.rows} candidates at once", _number(hours)),
        ("jobs", f"{work.jobs:,}"),
        ("GPU-hours of a job at best", _number(hours / work.jobs)),
    ]
    return Section(
        f"Sampling: {work.prompts:,} captions × {work.candidates}, {cluster.chip.name}", ("", "number"), rows
    )


def _disk(work: Work, parameters: PriorParameters, cluster: Cluster) -> Section:
    drawings = work.prompts * work.candidates
    checkpoint = checkpoint_bytes(parameters, work.prior, cluster.gpus)
    rows = [
        (f"codes of {work.pairs:,} training pictures", _size(codes_bytes(work.shape, work.pairs)), "1 a split"),
        (f"a checkpoint of the prior, of {work.prior.keep}", _size(checkpoint), f"{cluster.gpus:,}"),
        (f"{drawings:,} candidates", _size(candidates_bytes(work.shape, drawings)), f"{work.jobs * work.suites:,}"),
    ]
    return Section("Disk", ("what", "size", "files"), rows)


def _count(number: int) -> str:
    """``12.09 · 10⁹``; every digit of what is less than a billion."""
    return f"{number / 1e9:,.2f} · 10⁹" if number >= 1e9 else f"{number:,}"


def _si(number: float) -> str:
    """Three digits and a power of ten."""
    mantissa, _, power = f"{number:.2e}".partition("e")
    return f"{mantissa}e{int(power)}"


def _number(number: float) -> str:
    """Three digits at least: ``29,136``, ``2.37``, ``0.00131``."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _memory_size(number: float) -> str:
    """Bytes in binary units, as memory is built."""
    return _with_unit(number, 1024, ("B", "KiB", "MiB", "GiB"))


def _size(number: float) -> str:
    """Bytes in decimal units, as disks and networks are sold."""
    return _with_unit(number, 1000, ("B", "kB", "MB", "GB"))


def _with_unit(number: float, base: int, units: tuple[str, ...]) -> str:
    power = 0
    while number >= base and power < len(units) - 1:
        number, power = number / base, power + 1
    return f"{number:,.4g} {units[power]}" if number < 1000 else f"{number:,.0f} {units[power]}"


def show(sections: Sequence[Section], console: "Console") -> None:
    """Prints the tables, one below the other."""
    from rich.table import Table

    for section in sections:
        console.print(section.title, style="bold", highlight=False)
        table = Table()
        for number, name in enumerate(section.columns):
            table.add_column(name, justify="right" if number else "left")
        for row in section.rows:
            table.add_row(*row)
        console.print(table)
        console.print()

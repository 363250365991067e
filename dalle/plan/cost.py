"""Time on given hardware, and files on disk."""

from dataclasses import dataclass

from dalle.config.training import Optimisation
from dalle.hardware import CHIPS, Chip
from dalle.models.attention import cell_mask, layer_kinds
from dalle.models.transformer import Shape
from dalle.plan.memory import HALF, SINGLE, moments
from dalle.plan.parameters import PriorParameters

HOUR = 3600
CANDIDATE_FACTS = 32  # bytes beside a candidate's codes: caption, number, seed, log-likelihood
CODE = 2  # bytes


@dataclass(frozen=True)
class Cluster:
    """What the training runs on. Raises ValueError for what cannot be."""

    chip: Chip
    gpus: int
    machine: int  # GPUs of a machine, among which the weights are sharded
    mfu: float  # share of the chips' peak that the model's own FLOPs make use of; recomputation is none of them

    def __post_init__(self) -> None:
        if not 0 < self.mfu <= 1:
            raise ValueError(f"mfu {self.mfu}: allowed are shares above 0, up to 1")
        if min(self.gpus, self.machine) < 1 or self.gpus % self.machine:
            raise ValueError(f"{self.gpus} GPUs, {self.machine} a machine: allowed are whole machines")

    @property
    def machines(self) -> int:
        return self.gpus // self.machine


def find_chip(name: str) -> Chip:
    """The chip of this name. Raises ValueError for an unknown one."""
    if name not in CHIPS:
        raise ValueError(f"chip {name!r} is not known; known are {', '.join(CHIPS)}")
    return CHIPS[name]


def gpu_hours(flops: int, cluster: Cluster) -> float:
    """FLOPs ÷ (peak · MFU), in hours of one GPU."""
    return flops / (cluster.chip.flops * cluster.mfu) / HOUR


def step_seconds(shape: Shape, parameters: PriorParameters, rows: int, chip: Chip) -> float:
    """The time in which ``rows`` candidates get one code more at best: the longer one of computing and reading.

    Computed: 2 · (matrices + image head) a row, at the chip's peak. Read: 16-bit matrices once, and of each row the
    keys and values that its cell sees (on average over the cells), at the memory's bandwidth.
    """
    multiplied = parameters.matrices + shape.width * shape.codes
    kept = 2 * HALF * shape.width * seen_in_all_layers(shape)
    computing = 2 * multiplied * rows / chip.flops
    reading = (HALF * multiplied + rows * kept) / chip.bandwidth
    return max(computing, reading)


def seen_in_all_layers(shape: Shape) -> float:
    """Positions that a cell sees, itself included: mean over cells, sum over layers."""
    kinds = layer_kinds(shape.depth)
    seen = {
        kind: float(cell_mask(kind, shape.grid, shape.conv_kernel, shape.conv_wrap).sum(1).float().mean())
        for kind in set(kinds)
    }
    return sum(shape.prefix + seen[kind] for kind in kinds)


def sampling_hours(shape: Shape, parameters: PriorParameters, drawings: int, rows: int, chip: Chip) -> float:
    """Hours of one GPU at best: drawings · cells ÷ rows · :func:`step_seconds`."""
    return drawings * shape.cells / rows * step_seconds(shape, parameters, rows, chip) / HOUR


def candidates_bytes(shape: Shape, drawings: int) -> int:
    """Candidates as they are kept: 2 bytes a code and 32 of facts. (As PNG one of 256 pixels has some 100 kB.)"""
    return drawings * (CODE * shape.cells + CANDIDATE_FACTS)


def codes_bytes(shape: Shape, pictures: int) -> int:
    """The training pictures as codes: 2 bytes a cell."""
    return pictures * CODE * shape.cells


def checkpoint_bytes(parameters: PriorParameters, settings: Optimisation, gpus: int) -> int:
    """All files of a checkpoint: once the weights, their average and moments (Muon has one of matrices) in float32; of
    every replica of the weights what PowerSGD has not sent yet, 4 bytes a matrix's number."""
    shared = settings.distributed
    replicas = gpus // (shared.shards or gpus) if shared.kind == "fsdp" else gpus
    errors = replicas if shared.powersgd is not None and replicas > 1 else 0
    return SINGLE * ((2 + moments(settings) + errors) * parameters.matrices + 4 * parameters.rest)

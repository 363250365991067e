"""What a GPU sends in an update, with and without PowerSGD (paper §2.5, §E).

The paper cuts every matrix into 8 shards, one for each GPU of a machine. Within the machine shards of weights are
gathered and gradients are scattered; between machines, GPUs of equal number average the gradients of their shards.
Only this second exchange is compressed: instead of a gradient M of m × n, PowerSGD sends P = MQ (m × r) and
Mᵀ·orthogonal(P) (n × r). Matrices count 16 bits a number here, as in the paper. Our training sends what it does not
compress in float32, and so scatters gradients within a machine.
"""

from dalle.models.compression import Matrix, sent_numbers
from dalle.models.transformer import Shape
from dalle.plan.memory import HALF, SINGLE
from dalle.plan.parameters import PriorParameters

PAPER_WIDTHS = {1920: 512, 2688: 640, 3968: 896}  # ranks by width (table 1)
GPUS_A_MACHINE = 8


def block_shards(width: int, shards: int) -> list[Matrix]:
    """What one GPU has of a block: queries, keys, values and output d × d/m each, the MLP d × 4d/m and 4d/m × d.

    Axis 1 is cut, but axis 0 of the MLP's second matrix. Rounded up where the width is not divisible.
    """
    part, wide = -(-width // shards), -(-4 * width // shards)
    return [(width, part)] * 4 + [(width, wide), (wide, width)]


def compression(width: int, rank: int, shards: int = GPUS_A_MACHINE) -> float:
    """The share that a total ``rank``, divided among the shards, saves: 1 - r(1/2 + 1/m)/d; 1 - 5r/(8d) for m = 8."""
    matrices = block_shards(width, shards)
    return 1 - sent_numbers(matrices, max(1, rank // shards)) / sum(m * n for m, n in matrices)


def all_reduce_bytes(payload: int, members: int) -> int:
    """What each of ``members`` sends in a ring all-reduce: 2 · (members - 1)/members · payload."""
    return 2 * (members - 1) * payload // members


def between_machines_bytes(
    parameters: PriorParameters, shape: Shape, machines: int, shards: int, rank: int | None
) -> int:
    """What a GPU sends to those of other machines in an update: an all-reduce of its shard's gradients.

    Matrices in 16 bit, whole or, with a ``rank``, compressed; all else in float32 and whole.
    """
    matrices = block_shards(shape.width, shards)
    numbers = sum(m * n for m, n in matrices) if rank is None else sent_numbers(matrices, max(1, rank // shards))
    payload = HALF * shape.depth * numbers + SINGLE * -(-parameters.rest // shards)
    return all_reduce_bytes(payload, machines)


def within_machine_bytes(parameters: PriorParameters, shards: int) -> int:
    """What a GPU sends in an update to those that share its weights: 3 · (m - 1)/m · 2 bytes · parameters.

    Weights are gathered twice, forward and backward (recomputation needs no third time), gradients scattered once.
    """
    return 3 * (shards - 1) * HALF * parameters.total // shards

"""How far gradients are compressed: the rank of PowerSGD by the width of a model (paper §2.5, table 1)."""

from collections.abc import Sequence

Matrix = tuple[int, int]
RANK_STEP = 128


def default_rank(width: int) -> int:
    """The least multiple of 128 that is 7/31 of the width or more.

    Ours: the paper found its ranks by trying (the least multiple of 128 without a gap in the loss), and this rule gives
    its three: 512, 640, 896 for the widths 1920, 2688, 3968.
    """
    return -(-7 * width // (31 * RANK_STEP)) * RANK_STEP


def sent_numbers(matrices: Sequence[Matrix], rank: int) -> int:
    """Numbers that PowerSGD exchanges for ``matrices``: r(m + n) each, mn where that is not more."""
    return sum(min(rank * (m + n), m * n) for m, n in matrices)

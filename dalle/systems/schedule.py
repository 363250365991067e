"""The two falls that are called a cosine (paper §A.2 does not say which it means)."""

from math import cos, pi
from typing import Literal


def remaining(share: float, cosine: Literal["half", "quarter"]) -> float:
    """What is left of the height after the ``share`` of the way: 1 at its begin, 0 at its end.

    ``half`` a period, (1 + cos πf)/2, is flat at both ends; ``quarter`` of a period, cos(πf/2), falls steepest at the
    end: half-way it has 0.71 left, not 0.5.
    """
    return (1 + cos(pi * share)) / 2 if cosine == "half" else cos(pi * share / 2)

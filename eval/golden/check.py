"""A check: a function that says in a line what it found, and raises ValueError with the reason where that is wrong."""

from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from eval.golden import fixtures


class NotAtHand(Exception):  # noqa: N818
    """No error: what a check needs is not on this machine, so it says nothing."""


@dataclass(frozen=True)
class Check:
    """Something about an installation that is right or wrong."""

    name: str
    run: Callable[[], str]

    def outcome(self) -> tuple[bool | None, str]:
        """Whether it is right (None: cannot be told here), and a line that says why."""
        try:
            return True, self.run()
        except NotAtHand as missing:
            return None, str(missing)
        except Exception as error:  # whatever is broken, the other checks go on
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            return False, kind + str(error).partition("\n")[0]


def compare(
    what: str, found: Shaped[np.ndarray, "..."], expected: Shaped[np.ndarray, "..."], tolerance: float | int
) -> float:
    """The largest difference. Raises ValueError if it is more than ``tolerance`` or the shapes differ."""
    if found.shape != expected.shape:
        raise ValueError(f"{what}: an array of {found.shape}; expected is {expected.shape}")
    gap = float(np.abs(found.astype(np.float64) - expected).max())
    if not gap <= tolerance:  # NaN is no agreement
        raise ValueError(f"{what}: up to {gap:.3g} away from what it should be; allowed is {tolerance:g}")
    return gap


def committed(name: str, keys: Set[str]) -> fixtures.Arrays:
    """The committed numbers ``name`` for these keys. Raises ValueError if one is not among them."""
    arrays = fixtures.numbers(name)
    if missing := sorted(keys - arrays.keys()):
        raise ValueError(f"fixture {name}.safetensors lacks {', '.join(missing)}")
    return {key: arrays[key] for key in keys}

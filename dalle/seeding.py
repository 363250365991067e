"""All randomness follows from names: a seed for every part of an experiment, a row of uniforms for every candidate."""

import hashlib

import numpy as np
from jaxtyping import Float


def seed_for(*parts: str | int) -> int:
    """A 63-bit seed that depends on every one of ``parts``, in order, and on nothing else.

    ``seed_for(0, "dvae", 17)`` and ``seed_for(0, "dvae", 18)`` are unrelated; both are the same on every machine.
    """
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def uniforms(seed: int, num: int) -> Float[np.ndarray, " num"]:
    """``num`` uniforms in [0, 1), float64, from the counter-based generator Philox keyed by ``seed``.

    A longer row begins with the shorter one.
    """
    return np.random.Generator(np.random.Philox(key=seed)).random(num)

"""What chips can do, by their data sheets."""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """A GPU by its data sheet: 16-bit matrix products, dense."""

    name: str
    flops: float  # a second
    memory: int  # bytes
    bandwidth: float  # of its memory, bytes a second


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("V100", 125e12, 16 * GIB, 0.9e12),
        Chip("RTX4090", 165e12, 24 * GIB, 1.01e12),
        Chip("A100", 312e12, 80 * GIB, 2.04e12),
        Chip("H100", 989e12, 80 * GIB, 3.35e12),
        Chip("H200", 989e12, 141 * 10**9, 4.8e12),
    )
}


def chip_named(text: str) -> Chip | None:
    """The chip whose name stands in ``text``, which is what a driver calls it; None for one that is not listed."""
    return next((chip for name, chip in CHIPS.items() if name in text.replace(" ", "")), None)

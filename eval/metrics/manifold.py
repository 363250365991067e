"""Precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem et al. 2020,
arXiv 2002.09797).

Around each picture lies a ball that reaches to its k-th nearest neighbour in its own set; the union of the balls stands
for what the set can show. The four ask which pictures of one set lie in which balls of the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

STRIPE = 512  # reference pictures at a time: against 30,000 pictures the distances take 120 MB


@dataclass(frozen=True)
class Manifold:
    """How a set of pictures and the reference lie in each other's balls."""

    real: Float[np.ndarray, " n"]  # 1 where the picture lies in a ball of the reference
    balls: Float[np.ndarray, " n"]  # balls of the reference that the picture lies in, divided by k
    holders: UInt8[np.ndarray, "m bytes"]  # a bit for each picture: whether its ball holds the reference picture
    visitors: UInt8[np.ndarray, "m bytes"]  # a bit for each picture: whether it lies in the reference picture's ball

    def precision(self) -> float:
        """Share of the pictures that lie in a ball of the reference."""
        return float(self.real.mean())

    def recall(self) -> float:
        """Share of the reference that lies in a ball of the pictures.

        Its intervals are too narrow: in simulations 84 % of them held the truth instead of 95 %.
        """
        return float(self.holders.any(axis=1).mean())

    def density(self) -> float:
        """Mean number of balls of the reference that a picture lies in, divided by k: about 1 for equal kinds."""
        return float(self.balls.mean())

    def coverage(self) -> float:
        """Share of the reference's balls in which a picture lies."""
        return float(self.visitors.any(axis=1).mean())

    def replicates(self, name: str, counts: Int64[np.ndarray, "replicates n"]) -> Float[np.ndarray, " replicates"]:
        """The metric ``name`` of each resample, in which picture i stands ``counts[:, i]`` times.

        The pictures keep their balls; recall and coverage only lose those that were not drawn.
        """
        if name in ("precision", "density"):
            values = {"precision": self.real, "density": self.balls}[name]
            return counts @ values / counts.sum(axis=1)
        return _share_reached({"recall": self.holders, "coverage": self.visitors}[name], counts > 0)


@dataclass(frozen=True)
class ManifoldReference:
    """The reference and its balls: of ``precision_recall`` neighbours, and of ``density_coverage``."""

    features: Float[np.ndarray, "m dim"]
    precision_recall: int
    density_coverage: int
    union: Float[np.ndarray, " m"]  # squared radii for precision
    kernel: Float[np.ndarray, " m"]  # squared radii for density and coverage

    @classmethod
    def of(
        cls, features: Float[np.ndarray, "m dim"], precision_recall: int, density_coverage: int
    ) -> "ManifoldReference":
        """Raises ValueError for fewer pictures than a neighbour more than asked for."""
        ks = precision_recall, density_coverage
        return cls(features.astype(np.float64), *ks, *_squared_radii(features, ks))

    def compare(self, samples: Float[np.ndarray, "n dim"]) -> Manifold:
        """Raises ValueError for fewer samples than ``precision_recall`` + 1."""
        samples = samples.astype(np.float64)
        (reaches,) = _squared_radii(samples, (self.precision_recall,))
        real, balls = np.zeros(len(samples), bool), np.zeros(len(samples))
        holders, visitors = [], []
        for rows, squared in _squared_distances(self.features, samples):
            real |= (squared <= self.union[rows, None]).any(axis=0)
            inside = squared <= self.kernel[rows, None]
            balls += inside.sum(axis=0)
            holders.append(np.packbits(squared <= reaches, axis=1))
            visitors.append(np.packbits(inside, axis=1))
        return Manifold(
            real.astype(np.float64), balls / self.density_coverage, np.concatenate(holders), np.concatenate(visitors)
        )


def _squared_distances(
    x: Float[np.ndarray, "a dim"], y: Float[np.ndarray, "b dim"]
) -> Iterator[tuple[slice, Float[np.ndarray, "stripe b"]]]:
    """Stripes of rows of the squared distances."""
    squares = np.square(y).sum(axis=1)
    for start in range(0, len(x), STRIPE):
        rows = slice(start, start + STRIPE)
        yield rows, np.square(x[rows]).sum(axis=1)[:, None] + squares - 2 * x[rows] @ y.T


def _squared_radii(features: Float[np.ndarray, "n dim"], ks: tuple[int, ...]) -> list[Float[np.ndarray, " n"]]:
    """Squared distances to the k-th nearest neighbours, for each k."""
    if not 1 <= min(ks) <= max(ks) < len(features):
        raise ValueError(f"{max(ks)} nearest neighbours need at least {max(ks) + 1} pictures; given {len(features)}")
    x = features.astype(np.float64)
    # Each row's own 0 is its smallest distance, so the k-th neighbour stands in place k.
    radii = np.concatenate([np.partition(squared, ks, axis=1)[:, ks] for _, squared in _squared_distances(x, x)])
    # Distances from matrix products round differently from stripe to stripe; the neighbour itself must stay inside.
    slack = 1e-12 * np.square(x).sum(axis=1).max()
    return list((radii + slack).T)


def _share_reached(
    bits: UInt8[np.ndarray, "m bytes"], present: Bool[np.ndarray, "replicates n"]
) -> Float[np.ndarray, " replicates"]:
    """The share of rows with a bit set for a picture that is present, for each replicate."""
    there = present.T.astype(np.float32)
    reached = np.zeros(len(present))
    for start in range(0, len(bits), STRIPE):
        held = np.unpackbits(bits[start : start + STRIPE], axis=1, count=len(there)).astype(np.float32)
        reached += (held @ there > 0).sum(axis=0)
    return reached / len(bits)

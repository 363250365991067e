"""DALL·E 1's Figure 9 with synthetic candidates: which pictures stand for which N, drawn when they are needed."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

SIDE = 64  # pixels
RADII = (0, 1, 2, 4, 8)
# The share of the reference that is left: 21 % of COCO were found in the training set.
REFERENCES = {"all": 1.0, "no-overlap": 0.79}
Picture = UInt8[np.ndarray, "64 64 3"]


class Cell(NamedTuple):
    """One point of the figure."""

    radius: float
    reference: str
    n: int


@dataclass(frozen=True)
class Figure:
    """So many captions with so many candidates each (a power of 2), whose scores are random."""

    captions: int
    candidates: int
    radii: tuple[float, ...]

    @property
    def numbers(self) -> list[int]:
        """N: 1, 2, 4 … all candidates."""
        return [2**power for power in range(self.candidates.bit_length())]

    @property
    def cells(self) -> list[Cell]:
        return [Cell(*cell) for cell in product(self.radii, REFERENCES, self.numbers)]

    def spread(self, num: str) -> list[Cell]:
        """``num`` cells, evenly spread over all of them; or "all". Raises ValueError if there are not so many."""
        most = len(self.cells)
        wanted = most if num == "all" else int(num) if num.isdecimal() else 0
        if not 1 <= wanted <= most:
            raise ValueError(f"{num} cells: allowed are 1 … {most} and all")
        return [self.cells[int((place + 0.5) * most / wanted)] for place in range(wanted)]

    @cached_property
    def scores(self) -> Float[np.ndarray, "captions candidates"]:
        return np.random.default_rng(0).random((self.captions, self.candidates))

    def winners(self, n: int) -> pd.DataFrame:
        """The best of the first N candidates of every caption: prompt_id, candidate."""
        from dalle.rerank import best_of

        return self._rows([best_of(scores, n) for scores in self.scores])

    def distinct_winners(self) -> pd.DataFrame:
        return pd.concat(map(self.winners, self.numbers)).drop_duplicates().sort_values(["prompt_id", "candidate"])

    def reference(self, name: str = "all") -> pd.DataFrame:
        """One picture more of every caption that is left."""
        return self._rows([self.candidates] * self.captions)[: round(REFERENCES[name] * self.captions)]

    def _rows(self, chosen: list[int]) -> pd.DataFrame:
        return pd.DataFrame({"prompt_id": range(self.captions), "candidate": chosen})

    def draw(self, rows: pd.DataFrame) -> list[Picture]:
        """The pictures of these rows, under noise that a high score has less of; the reference has none."""
        noise = np.pad(60 * (1 - self.scores), ((0, 0), (0, 1)))  # levels
        return [_picture(key, noise[key]) for key in zip(rows["prompt_id"], rows["candidate"], strict=True)]


def _picture(key: tuple[int, int], noise: float) -> Picture:
    """Coloured squares on a coloured ground."""
    rng = np.random.default_rng(key)
    pixels = np.full((SIDE, SIDE, 3), rng.uniform(0, 255, 3))
    for left, top, size in rng.integers(SIDE // 8, SIDE // 2, (6, 3)):
        pixels[top : top + size, left : left + size] = rng.uniform(0, 255, 3)
    return (pixels + rng.normal(scale=noise, size=pixels.shape)).clip(0, 255).astype(np.uint8)

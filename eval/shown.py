"""Which pictures stand for a system at each N: their features and their grades, in the order of their prompts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int64

from eval.features import FeatureSet, read_features
from eval.tables import read_table

# `shuffled` shows, for every N, exactly the pictures that `dalle1` shows, under other captions. What does not look at
# captions is the same for both.
PICTURES_OF = {"shuffled": "dalle1"}
KEYS = ["prompt_id", "candidate"]


class Place(NamedTuple):
    """What a file of features holds: …/{space}/{source}/{suite}/blur{radius}.safetensors."""

    space: str
    source: str
    suite: str
    radius: float


def place_of(path: Path) -> Place:
    *_, space, source, suite, name = path.parts
    return Place(space, source, suite, float(name.removeprefix("blur").removesuffix(".safetensors")))


@dataclass(frozen=True)
class Shown:
    """Everything that was found out about the pictures of an experiment, ready to be looked up."""

    features: Mapping[Place, Path]
    selections: Mapping[tuple[str, str], pd.DataFrame]  # of system and suite: prompt_id, n_candidates, candidate
    scores: Mapping[tuple[str, str], pd.DataFrame]  # of system and suite: the rows of image_scores
    overlap: Mapping[str, frozenset[int]]  # of a suite: prompts whose reference picture overlaps with training

    @classmethod
    def read(
        cls,
        features: Iterable[str | Path],
        selections: Iterable[str | Path],
        image_scores: str | Path,
        overlap: str | Path,
    ) -> "Shown":
        """From the files …/{system}/{suite}.selection.parquet and the tables image_scores and overlap."""
        known = read_table(overlap)
        chosen = {
            (path.parent.name, path.name.removesuffix(".selection.parquet")): read_table(path)
            for path in map(Path, selections)
        }
        return cls(
            {place_of(path): path for path in map(Path, features)},
            {place: table.sort_values(["n_candidates", "prompt_id"]) for place, table in chosen.items()},
            dict(iter(read_table(image_scores).groupby(["system", "suite"]))),
            {suite: frozenset(rows.loc[rows["overlap"], "prompt_id"]) for suite, rows in known.groupby("suite")},
        )

    @property
    def suites(self) -> list[str]:
        return sorted({suite for _, suite in self.selections})

    def systems(self, suite: str) -> list[str]:
        return sorted(system for system, its_suite in self.selections if its_suite == suite)

    def sources(self, place: Place) -> dict[str, list[str]]:
        """The systems with pictures of their own that were looked at there, each with the systems that show them.

        The photographs that captions were written about are the reference pictures themselves: nobody looks again.
        """
        shown_by: dict[str, list[str]] = {}
        for system in self.systems(place.suite):
            shown_by.setdefault(PICTURES_OF.get(system, system), []).append(system)
        return {
            source: systems for source, systems in shown_by.items() if place._replace(source=source) in self.features
        }

    def chosen(self, system: str, suite: str) -> Iterator[tuple[int, pd.DataFrame]]:
        """Every N with the pictures that stand for it, one a prompt, in the order of the prompts."""
        yield from self.selections[system, suite].groupby("n_candidates")

    def places(self, space: str) -> list[Place]:
        """Each suite and radius at which pictures were seen in a space; the source is the reference."""
        return sorted({place._replace(source="reference") for place in self.features if place.space == space})

    def reference(self, place: Place, with_overlap: bool) -> FeatureSet:
        """The reference pictures' features; without those that overlap with training, if asked."""
        found = read_features(self.features[place])
        known = sorted(self.overlap.get(place.suite, ()))
        return found if with_overlap else found.take(np.flatnonzero(~np.isin(found.prompt_id, known)))


def rows_of(found: FeatureSet, pictures: pd.DataFrame) -> Int64[np.ndarray, " n"]:
    """Where the chosen pictures stand among the features. Raises ValueError if one is not there."""
    there = pd.MultiIndex.from_arrays([found.prompt_id, found.candidate])
    rows = there.get_indexer(_keys(pictures))
    _check_complete(rows < 0, pictures, "features")
    return rows


def values_of(scores: pd.DataFrame, pictures: pd.DataFrame, metric: str) -> Float[np.ndarray, " n"]:
    """The chosen pictures' values of a per-image metric. Raises ValueError if one has none."""
    values = scores.set_index(KEYS)["value"].reindex(_keys(pictures))
    _check_complete(values.isna().to_numpy(), pictures, f"image score {metric!r}")
    return values.to_numpy()


def right_among_first(grades: pd.DataFrame, n: int) -> Float[np.ndarray, " prompts"] | None:
    """For each prompt 1 if any of its first ``n`` candidates is right, else 0; None if one of them is not graded."""
    among_first = grades[grades["candidate"] < n]
    if len(among_first) != n * grades["prompt_id"].nunique():
        return None
    return among_first.groupby("prompt_id")["value"].max().to_numpy()


def _keys(pictures: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(pictures[KEYS])


def _check_complete(missing: Bool[np.ndarray, " n"], pictures: pd.DataFrame, what: str) -> None:
    if missing.any():
        prompt, candidate = _keys(pictures)[int(np.argmax(missing))]
        raise ValueError(
            f"{what}: {missing.sum()} chosen pictures have none, first prompt {prompt}, candidate {candidate}"
        )

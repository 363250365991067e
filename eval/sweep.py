"""The metrics table: every system, suite, N and blur radius, from features and grades that are already there.

Nothing here looks at a picture. A cell of the sweep collects its evidence (which rows of which features, which grades);
each metric of the registry whose needs that evidence meets gives one row.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from eval.features import FeatureSet, read_features
from eval.protocols.protocol import Protocol, read_protocol
from eval.registry import METRICS
from eval.tables import read_table, write_table

COLUMNS = {
    "experiment": "str",
    "system": "str",
    "suite": "str",
    "protocol": "str",
    "metric": "str",
    "n_candidates": "int64",
    "blur": "float64",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "n_reference": "int64",
    "seed": "int64",
    "extractor_digest": "str",
}
ORDER = ["system", "suite", "metric", "n_candidates", "blur"]
# `shuffled` shows, for every N, exactly the pictures that `dalle1` shows, under other captions. What does not look at
# captions therefore reads dalle1's features by dalle1's selection.
PICTURES_OF = {"shuffled": "dalle1"}
DRAWS_CANDIDATES = ("dalle1",)  # whose image scores can hold more pictures than the chosen ones

Evidence = dict[str, Any]
FeatureSets = Mapping[tuple[str, str, float], FeatureSet]  # by source, suite and blur radius


def write_metrics(
    features: Sequence[str | Path],
    selections: Sequence[str | Path],
    image_scores: str | Path,
    protocol: str | Path,
    out: str | Path,
    experiment: str,
    seed: int,
    splits: int,
) -> None:
    """Write the metrics table (parquet, and CSV beside it): a row for each metric, system, suite, N and blur radius.

    ``features`` are files ``…/{source}/{suite}/blur{radius}.safetensors``, ``reference`` among the sources;
    ``selections`` are ``…/{system}/{suite}.selection.parquet`` and say which systems there are. Sides of an FID are
    blurred alike. Grades count at radius 0 only. ``low`` and ``high`` are NaN where a metric has no interval,
    ``n_reference`` is 0 and ``extractor_digest`` empty where it needs neither. Equal inputs give equal bytes.

    Raises ValueError for features of another extractor than the protocol's, and for a chosen picture without features
    or without its grade.
    """
    rules = read_protocol(protocol)
    stored = {_place(Path(path)): read_features(path) for path in features}
    _check_extractor(stored, rules)
    chosen = {(Path(path).parent.name, _suite(path)): read_table(path) for path in selections}
    scores = dict(iter(read_table(image_scores).groupby(["system", "suite"])))
    constants = {"experiment": experiment, "protocol": rules.label, "seed": seed}
    rows = [
        {**constants, "system": system, "suite": suite, **row}
        for system, suite in chosen
        for cell, evidence in _cells(system, suite, stored, chosen, scores.get((system, suite)))
        for row in _rows(cell, {**evidence, "splits": splits}, rules.extractor_digest)
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    write_table(frame.sort_values(ORDER, ignore_index=True), out)


def _place(path: Path) -> tuple[str, str, float]:
    """Source, suite and radius of …/{source}/{suite}/blur{radius}.safetensors."""
    return path.parent.parent.name, path.parent.name, float(path.stem.removeprefix("blur"))


def _suite(path: str | Path) -> str:
    return Path(path).name.removesuffix(".selection.parquet")


def _check_extractor(stored: FeatureSets, protocol: Protocol) -> None:
    for (source, suite, radius), found in stored.items():
        if found.extractor_digest != protocol.extractor_digest:
            raise ValueError(
                f"features of {source}/{suite}, blur {radius:g}: extractor digest {found.extractor_digest}, "
                f"but protocol {protocol.label} is defined for {protocol.extractor_digest}"
            )


def _rows(cell: Mapping[str, float], evidence: Evidence, digest: str) -> Iterator[dict[str, Any]]:
    """One row for each metric whose needs the evidence meets."""
    for name, metric in METRICS.items():
        if evidence.keys() >= set(metric.needs):
            estimate = metric.compute(*(evidence[need] for need in metric.needs))
            yield {
                **cell,
                **estimate._asdict(),
                "metric": name,
                "n": len(evidence[metric.needs[0]]),
                "n_reference": len(evidence["reference"]) if "reference" in metric.needs else 0,
                "extractor_digest": digest if {"features", "logits"} & set(metric.needs) else "",
            }


def _cells(
    system: str,
    suite: str,
    stored: FeatureSets,
    chosen: Mapping[tuple[str, str], pd.DataFrame],
    scores: pd.DataFrame | None,
) -> Iterator[tuple[dict[str, float], Evidence]]:
    """Every (N, radius) of a system on a suite, with its evidence."""
    source = PICTURES_OF.get(system, system)
    radii = sorted(radius for *place, radius in stored if place == [source, suite])
    shown = chosen[source, suite]
    for n, selection in chosen[system, suite].groupby("n_candidates"):
        pictures = shown[shown["n_candidates"] == n]
        for radius in radii:
            evidence = _seen(stored[source, suite, radius], pictures)
            evidence["reference"] = stored["reference", suite, radius].features
            if radius == 0 and scores is not None:
                evidence |= _graded(scores, selection, draws=n if system in DRAWS_CANDIDATES else 0)
            yield {"n_candidates": n, "blur": radius}, evidence


def _seen(found: FeatureSet, pictures: pd.DataFrame) -> Evidence:
    """Features and logits of the chosen pictures, in the order of their prompts."""
    there = pd.MultiIndex.from_arrays([found.prompt_id, found.candidate])
    rows = there.get_indexer(_keys(pictures))
    _check_complete(rows < 0, pictures, "features")
    return {"features": found.features[rows], "logits": found.logits[rows]}


def _graded(scores: pd.DataFrame, selection: pd.DataFrame, draws: int) -> Evidence:
    """Grades and PSNR of the chosen pictures, as far as there are any; prompts with a right one among ``draws``."""
    evidence = {}
    for metric in ("grounded", "psnr"):
        rows = scores[scores["metric"] == metric]
        if len(rows):
            values = rows.set_index(["prompt_id", "candidate"])["value"].reindex(_keys(selection))
            _check_complete(values.isna().to_numpy(), selection, f"image score {metric!r}")
            evidence[metric] = values.to_numpy()
    grades = scores[scores["metric"] == "grounded"]
    if draws and _all_graded(grades, draws):
        evidence["right_among_first"] = _right_among_first(grades, draws)
    return evidence


def _keys(selection: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(selection.sort_values("prompt_id")[["prompt_id", "candidate"]])


def _check_complete(missing: np.ndarray, selection: pd.DataFrame, what: str) -> None:
    if missing.any():
        prompt, candidate = _keys(selection)[int(np.argmax(missing))]
        raise ValueError(
            f"{what}: {missing.sum()} chosen pictures have none, first prompt {prompt}, candidate {candidate}"
        )


def _all_graded(grades: pd.DataFrame, draws: int) -> bool:
    """Whether every prompt has grades for candidates 0 … draws - 1; without them nobody knows whether one was right."""
    among_first = grades[grades["candidate"] < draws]
    return len(among_first) == draws * grades["prompt_id"].nunique() > 0


def _right_among_first(grades: pd.DataFrame, draws: int) -> Float[np.ndarray, " prompts"]:
    """For each prompt 1 if any of its first ``draws`` candidates is right, else 0."""
    return grades[grades["candidate"] < draws].groupby("prompt_id")["value"].max().to_numpy()

"""The metrics table: every system, suite, N, blur radius and reference, from features and grades already there.

Nothing here looks at a picture. The sweep is cut into tasks that share one reference (a protocol, a suite, a radius, a
set of reference pictures) and run side by side. Each calculates on one thread, so the table does not depend on how many
there are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from dalle.seeding import seed_for
from eval.differences import differences
from eval.features import read_features
from eval.protocols.protocol import FidProtocol, IsProtocol, Protocol, load_protocol
from eval.registry import METRICS, Comparison, Counts, Measured, Metric, Reference
from eval.shown import PICTURES_OF, Place, Shown, right_among_first, rows_of, values_of
from eval.stats import draw_counts
from eval.tables import ALL, NO_OVERLAP, write_table

COLUMNS = {
    "experiment": "str",
    "system": "str",
    "suite": "str",
    "protocol": "str",
    "metric": "str",
    "n_candidates": "int64",
    "blur": "float64",
    "blur_protocol": "str",
    "reference": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "n_reference": "int64",
    "seed": "int64",
    "extractor_digest": "str",
    "warning": "str",
}
ORDER = ["system", "suite", "protocol", "metric", "n_candidates", "blur", "reference"]
Result = tuple[dict[str, Any], Measured]
Task = Callable[[], list[Result]]


LEAST = 50  # resamples; the quantiles of fewer say nothing


@dataclass(frozen=True)
class Rules:
    """What a table is computed by. Raises ValueError for fewer than ``LEAST`` replicates."""

    protocols: Sequence[str]
    blur_protocol: str
    replicates: int  # of the bootstrap over prompts
    seed: int

    def __post_init__(self) -> None:
        if self.replicates < LEAST:
            raise ValueError(f"replicates: {self.replicates}; allowed are {LEAST} and more")

    def of(self, kind: type) -> list[Any]:
        """The protocols of one family, each once."""
        loaded = {protocol.label: protocol for protocol in map(load_protocol, self.protocols)}
        return [protocol for protocol in loaded.values() if isinstance(protocol, kind)]

    @property
    def spaces(self) -> list[FidProtocol]:
        """The feature spaces that the protocols need, each once."""
        named = [protocol.label for protocol in self.of(FidProtocol)]
        return [
            load_protocol(label) for label in dict.fromkeys([*named, *(p.features_of for p in self.of(IsProtocol))])
        ]

    def counts(self, suite: str, num: int) -> Counts:
        """How often each of a suite's prompts is drawn: the same for every system, so differences are paired."""
        return draw_counts(num, self.replicates, seed_for(self.seed, "bootstrap", suite))


def write_metrics(shown: Shown, rules: Rules, experiment: str, out: str | Path, paired: str | Path, jobs: int) -> None:
    """Write two tables (parquet, and CSV beside each): the metrics, and ``paired``, differences between systems.

    A row for each metric, system, suite, protocol, N, blur radius and reference. ``low`` and ``high`` are the 95 %
    interval over prompts. Both sides are blurred alike; grades count at radius 0 only. Where a metric needs neither,
    ``n_reference`` is 0 and ``reference`` and ``extractor_digest`` are empty. ``warning`` says what weakens a number,
    or why there is none. Equal inputs give equal bytes.

    Raises ValueError for features of another network than the protocol's, and for a chosen picture without features or
    without its grade.
    """
    tasks = [*_feature_tasks(shown, rules), *_logit_tasks(shown, rules), *_score_tasks(shown, rules)]
    with threadpool_limits(1), ThreadPoolExecutor(jobs) as pool:
        done = pool.map(lambda task: task(), tasks)
        results = [result for some in tqdm(done, "judge", len(tasks), unit=" tasks", disable=None) for result in some]
    constants = {"experiment": experiment, "seed": rules.seed}
    rows = [{**constants, **row, **_numbers(measured)} for row, measured in results]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    write_table(frame.sort_values(ORDER, ignore_index=True), out)
    write_table(differences(results, constants), paired)


def _numbers(measured: Measured) -> dict[str, float]:
    return {"value": measured.value, "low": measured.low, "high": measured.high}


def _feature_tasks(shown: Shown, rules: Rules) -> Iterator[Task]:
    for protocol in rules.of(FidProtocol):
        for place in shown.places(protocol.label):
            for with_overlap in (True, False) if shown.overlap.get(place.suite) else (True,):
                yield partial(_judge_features, shown, rules, protocol, place, with_overlap)


def _logit_tasks(shown: Shown, rules: Rules) -> Iterator[Task]:
    for protocol in rules.of(IsProtocol):
        for place in shown.places(protocol.features_of):
            yield partial(_judge_logits, shown, rules, protocol, place)


def _score_tasks(shown: Shown, rules: Rules) -> Iterator[Task]:
    for suite in shown.suites:
        yield partial(_judge_scores, shown, rules, suite)


def _judge_features(
    shown: Shown, rules: Rules, protocol: FidProtocol, place: Place, with_overlap: bool
) -> list[Result]:
    """Every system at one radius, against one set of reference pictures."""
    other = shown.reference(place, with_overlap)
    kept = _whole_batches(len(other.features), protocol)
    reference, results = Reference(other.features[:kept], protocol), []
    for source, systems in shown.sources(place).items():
        here = place._replace(source=source)
        found = read_features(shown.features[here])
        _check_space(found.extractor_digest, other.extractor_digest, here)
        for n, pictures in shown.chosen(source, place.suite):
            rows = rows_of(found, pictures)[: _whole_batches(len(pictures), protocol)]
            evidence = {
                "comparison": Comparison(found.features[rows], reference),
                "protocol": protocol,
                "counts": rules.counts(place.suite, len(rows)),
                "seed": seed_for(rules.seed, "subsets", place.suite),
            }
            about = {
                **_about(protocol, place, n, rules, found.extractor_digest),
                "reference": ALL if with_overlap else NO_OVERLAP,
                "n": len(rows),
                "n_reference": len(reference),
                "warning": _warning(protocol, found.lossy[rows], other.lossy[:kept]),
            }
            results += _rows(about, systems, protocol.metrics, evidence)
    return results


def _judge_logits(shown: Shown, rules: Rules, protocol: IsProtocol, place: Place) -> list[Result]:
    """The Inception Score of every system at one radius."""
    results = []
    for source, systems in shown.sources(place).items():
        found = read_features(shown.features[place._replace(source=source)])
        for n, pictures in shown.chosen(source, place.suite):
            rows = rows_of(found, pictures)
            counts = rules.counts(place.suite, len(rows))
            evidence = {"logits": found.logits[rows], "protocol": protocol, "counts": counts}
            about = {
                **_about(protocol, place, n, rules, found.extractor_digest),
                "n": len(rows),
                "warning": _warning(protocol, found.lossy[rows]),
            }
            results += _rows(about, systems, ["inception_score"], evidence)
    return results


def _judge_scores(shown: Shown, rules: Rules, suite: str) -> list[Result]:
    """The per-image metrics of every system, without blur."""
    results = []
    for system in shown.systems(suite):
        scores = shown.scores.get((system, suite))
        for protocol, of_protocol in () if scores is None else scores.groupby("protocol"):
            for n, pictures in shown.chosen(system, suite):
                draws = 0 if system in PICTURES_OF else n  # the rest of another system's candidates are not its own
                evidence = _image_scores(of_protocol, pictures, draws)
                evidence["counts"] = rules.counts(suite, len(pictures))
                about = {
                    **BLANK,
                    "suite": suite,
                    "protocol": protocol,
                    "n_candidates": n,
                    "n": len(pictures),
                    "extractor_digest": of_protocol["extractor_digest"].iloc[0],
                    "warning": _doubts(of_protocol, pictures),
                }
                results += _rows(about, [system], METRICS, evidence)
    return results


def _image_scores(scores: pd.DataFrame, pictures: pd.DataFrame, draws: int) -> dict[str, np.ndarray]:
    """The chosen pictures' values of every metric of the registry; prompts with a right one among ``draws``."""
    values = {
        metric: values_of(rows, pictures, metric) for metric, rows in scores.groupby("metric") if metric in METRICS
    }
    grades = scores[scores["metric"] == "grounded"]
    if draws and len(grades) and grades["candidate"].max() > 0:
        found = right_among_first(grades, draws)
        values |= {} if found is None else {"right_among_first": found}
    return values


BLANK = {"blur": 0.0, "blur_protocol": "", "reference": "", "n_reference": 0, "extractor_digest": "", "warning": ""}


def _about(protocol: Protocol, place: Place, n: int, rules: Rules, digest: str) -> dict[str, Any]:
    return {
        **BLANK,
        "suite": place.suite,
        "protocol": protocol.label,
        "n_candidates": n,
        "blur": place.radius,
        "blur_protocol": rules.blur_protocol if place.radius else "",
        "extractor_digest": digest,
    }


def _rows(
    about: dict[str, Any], systems: Sequence[str], names: Iterable[str], evidence: dict[str, Any]
) -> Iterator[Result]:
    """A row for each metric whose needs the evidence meets and each of the systems that show these pictures."""
    for name in names:
        metric = METRICS[name]
        if evidence.keys() >= set(metric.needs):
            measured, trouble = _measured(metric, evidence)
            warning = "; ".join(filter(None, [trouble, about["warning"]]))
            row = {**about, "metric": name, "warning": warning}
            yield from (({**row, "system": system}, measured) for system in systems)


def _measured(metric: Metric, evidence: dict[str, Any]) -> tuple[Measured, str]:
    """The number; or none, and why: too few pictures for the protocol's estimator, for example."""
    try:
        return metric.compute(*(evidence[need] for need in metric.needs)), ""
    except ValueError as error:
        return Measured(nan), str(error)


def _whole_batches(num: int, protocol: FidProtocol) -> int:
    """How many of ``num`` pictures count: DM-GAN's loader drops the last batch if it is not full."""
    size = protocol.drop_last or 1
    if num < size:
        raise ValueError(f"{protocol.label} drops what does not fill a batch of {size}; given {num} pictures")
    return num - num % size


def _check_space(found: str, expected: str, place: Place) -> None:
    if found != expected:
        raise ValueError(
            f"features of {place.source}/{place.suite}, blur {place.radius:g}: extractor digest {found}, but those of "
            f"the reference have {expected}"
        )


def _warning(
    protocol: FidProtocol | IsProtocol, lossy: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " m"] | None = None
) -> str:
    """What weakens a number: few pictures, and pictures that were compressed with loss, on either side."""
    sides = {"pictures": lossy, "reference pictures": other}
    given = {name: side for name, side in sides.items() if side is not None}
    few = [f"{len(side)} {name}" for name, side in given.items() if len(side) < protocol.minimal_n]
    asked = [f"{' and '.join(few)}, {protocol.label} asks for {protocol.minimal_n}"] if few else []
    return "; ".join([*asked, *(f"{side.sum()} {name} from lossy files" for name, side in given.items() if side.any())])


def _doubts(scores: pd.DataFrame, pictures: pd.DataFrame) -> str:
    """What weakens a mean over pictures: captions that were cut, and pictures that were compressed with loss."""
    what = {"truncated": "captions cut", "lossy": "pictures from lossy files"}
    found = {name: scores[scores["metric"] == name] for name in what}
    nums = {name: int(values_of(rows, pictures, name).sum()) for name, rows in found.items() if len(rows)}
    return "; ".join(f"{num} {what[name]}" for name, num in nums.items() if num)

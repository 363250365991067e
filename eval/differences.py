"""Paired differences: two systems on the same prompts, so that what makes a prompt hard or easy cancels out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import pandas as pd

from eval.registry import Measured
from eval.stats import interval

COLUMNS = {
    "experiment": "str",
    "suite": "str",
    "protocol": "str",
    "metric": "str",
    "blur": "float64",
    "blur_protocol": "str",
    "reference": "str",
    "system": "str",
    "n_candidates": "int64",
    "other": "str",
    "other_n_candidates": "int64",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "n_reference": "int64",
    "seed": "int64",
    "extractor_digest": "str",
    "warning": "str",
}
# Numbers that agree in these were computed by the same rules from the same prompts and can be subtracted.
SAME = ["suite", "protocol", "metric", "blur", "blur_protocol", "reference", "n", "n_reference", "extractor_digest"]
Result = tuple[dict[str, Any], Measured]


def differences(results: Iterable[Result], constants: dict[str, Any]) -> pd.DataFrame:
    """``system`` minus ``other``: every two systems at their largest N, and each system's largest N and N = 1.

    ``low`` and ``high`` are the 95 % interval of the difference, from resamples of the prompts that both sides share.
    A metric without resamples (FID∞) has no row.
    """
    cells = defaultdict(dict)
    for row, measured in results:
        if measured.replicates is not None:
            cells[tuple(row[name] for name in SAME)][row["system"], row["n_candidates"]] = row, measured
    rows = [
        {**constants, **_difference(cell[first], cell[second])}
        for cell in cells.values()
        for first, second in _pairs(sorted(cell))
        if cell[first][1] is not cell[second][1]  # the same pictures: nothing to tell apart
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return frame.sort_values(list(COLUMNS)[1:11], ignore_index=True)


def _pairs(cells: list[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    most = dict(cells)  # sorted, so the largest N of a system is its last
    yield from combinations(most.items(), 2)
    yield from (((system, n), (system, 1)) for system, n in most.items() if n > 1 and (system, 1) in cells)


def _difference(first: Result, second: Result) -> dict[str, Any]:
    (row, one), (other, two) = first, second
    value, replicates = one.value - two.value, one.replicates - two.replicates
    low, high = interval(value, replicates)
    warnings = dict.fromkeys(filter(None, (row["warning"], other["warning"])))
    return {
        **row,
        "other": other["system"],
        "other_n_candidates": other["n_candidates"],
        "value": value,
        "low": low,
        "high": high,
        "warning": "; ".join(warnings),
    }

"""The numbers in README.md and docs/scenes.md, from results folders: ``python -m workflow.readme results/scenes``.

The pages mark each number, invisibly to readers, with what it is:

    FID falls to <!-- number: metrics fid val dalle1 32 blur=8 .0f -->74<!-- / -->

and a table of an experiment by ``<!-- numbers: scenes -->`` and ``<!-- / -->`` around its rows. A mark is of the
experiment ``scenes`` unless it ends in ``of=EXPERIMENT``. The command looks the numbers up in the results, keeps them
in docs/numbers.json and writes them between the marks. A test compares the files.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalle.provenance import ROOT, atomic

if TYPE_CHECKING:
    import pandas as pd

PAGES, NUMBERS = (ROOT / "README.md", ROOT / "docs/scenes.md"), ROOT / "docs/numbers.json"
DEFAULT = "scenes"
MARK = re.compile(r"(<!-- number: (?P<what>[^>]+?) -->)(?P<shown>.*?)(<!-- / -->)")
BLOCK = re.compile(r"(<!-- numbers: (?P<experiment>[\w-]+) -->\n)(?P<shown>.*?)(<!-- / -->)", flags=re.DOTALL)
FORMAT = re.compile(r"[,+]?(\.\d)?[fd%]")
Numbers = dict[str, dict[str, Any]]  # experiment → what → the number, or the rows of its table

SYSTEMS = {
    "real": "other real pictures",
    "dvae": "the reference pictures through the dVAE",
    "dvae_start": "the same before training",
    "dalle1": "ours",
    "shuffled": "ours under wrong captions",
}
HEADINGS = ("suite", "system", "N", "FID ↓", "IS ↑", "right, % ↑", "any, %")


def number_of(results: Path, what: Sequence[str]) -> float:
    """The number that the words of a mark name. Raises ValueError for words that name none or several.

    ``metrics METRIC SUITE SYSTEM N``, ``differences METRIC SUITE SYSTEM N OTHER N``, both with ``blur=RADIUS``
    (``blur=least`` and ``blur=most``: the extremes of all radii) and ``low`` or ``high``; ``reranker ASPECT``, a share;
    ``overlap SUITE``, a share; ``minutes RULE``, of wall time.
    """
    source, *words = what
    readers: Mapping[str, Callable[[Path, list[str]], float]] = {
        "metrics": _of_metrics,
        "differences": _of_differences,
        "reranker": lambda folder, names: _read(folder / "clip/report.json")[" ".join(names)]["accuracy"],
        "overlap": lambda folder, names: _read(folder / "data/report.json")["overlap"][names[0]]["pictures"],
        "minutes": _minutes,
    }
    try:
        return float(readers[source](results, words))
    except KeyError as error:
        raise ValueError(f"mark {' '.join(what)!r}: {results} has no {error}") from None


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _of_metrics(results: Path, words: list[str]) -> float:
    metric, suite, system, n, *options = words
    return _cell(results, "metrics", {"metric": metric, "suite": suite, "system": system, "n_candidates": n}, options)


def _of_differences(results: Path, words: list[str]) -> float:
    metric, suite, system, n, other, other_n, *options = words
    sides = {"system": system, "n_candidates": n, "other": other, "other_n_candidates": other_n}
    return _cell(results, "differences", {"metric": metric, "suite": suite, **sides}, options)


def _cell(results: Path, table: str, about: Mapping[str, str], options: Sequence[str]) -> float:
    import pandas as pd

    rows = pd.read_parquet(results / f"tables/{table}.parquet")
    rows = rows[rows["reference"] != "no-overlap"]
    for column, value in about.items():
        rows = rows[rows[column].astype(str) == value]
    blur = next((option.removeprefix("blur=") for option in options if option.startswith("blur=")), "0")
    column = next((option for option in options if option in ("low", "high")), "value")
    if blur in ("least", "most"):
        return rows[column].min() if blur == "least" else rows[column].max()
    found = rows.loc[rows["blur"] == float(blur), column].tolist()
    if len(found) != 1:
        raise KeyError(f"one row of {table} with {dict(about)} and blur {blur}, but {len(found)}")
    return found[0]


def _minutes(results: Path, words: list[str]) -> float:
    import pandas as pd

    cost = pd.read_parquet(results / "tables/cost.parquet").set_index("rule")
    return cost.loc[words[0], "wall_s"] / 60


def table_of(results: Path) -> list[str]:
    """The rows of an experiment's table in Markdown: no blur; of the N the first, the middle and the last."""
    import pandas as pd

    metrics = pd.read_parquet(results / "tables/metrics.parquet")
    sharp = metrics[(metrics["blur"] == 0) & (metrics["reference"] != "no-overlap")]
    ns = sorted(sharp["n_candidates"].unique())
    lines, told = [], set()
    for suite, rows in sharp.groupby("suite"):
        for system, n in _shown_rows(rows, {ns[0], ns[(len(ns) - 1) // 2], ns[-1]}):
            cells = rows[(rows["system"] == system) & (rows["n_candidates"] == n)].set_index("metric")
            name = f"`{system}`" if system in told else f"`{system}`: {SYSTEMS.get(system, 'another program')}"
            names = [suite if not lines or (suite not in told) else "", name if (suite, system) not in told else ""]
            lines.append([*names, str(n), *_cells(cells)])
            told |= {suite, system, (suite, system)}
    heading, *rows = [f"| {' | '.join(line)} |".replace("  |", " |") for line in [HEADINGS, *lines]]
    return [heading, "|" + "---|" * len(HEADINGS), *rows]


def _shown_rows(rows: "pd.DataFrame", ns: set[int]) -> list[tuple[str, int]]:
    """Systems and N in their order: of wrong captions the largest N alone, for chance has no N."""
    known = {(row.system, row.n_candidates) for row in rows.itertuples()}
    systems = [*SYSTEMS, *sorted({system for system, _ in known} - SYSTEMS.keys())]
    chance = {("shuffled", n) for n in ns - {max(ns)}}
    return [(system, n) for system in systems for n in sorted(ns) if (system, n) in known - chance]


def _cells(cells: "pd.DataFrame") -> list[str]:
    def show(metric: str, text: str, unit: int = 1) -> str:
        if metric not in cells.index:
            return ""
        value, low, high = cells.loc[metric, ["value", "low", "high"]] * unit
        return text.format(value=value, low=low, high=high, half=(high - low) / 2)

    return [
        show("fid", "{value:.1f} ± {half:.1f}"),
        show("inception_score", "{value:.2f} ± {half:.2f}"),
        show("grounded", "{value:.1f} ({low:.1f}–{high:.1f})", unit=100),
        show("grounded_any", "{value:.1f}", unit=100),
    ]


def _asked(mark: str) -> tuple[str, str, str]:
    """Experiment, what, and format of a mark's words."""
    words = mark.split()
    experiment = next((word.removeprefix("of=") for word in words if word.startswith("of=")), DEFAULT)
    form = next((word for word in words if FORMAT.fullmatch(word)), ".1f")
    return experiment, " ".join(word for word in words if word != form and not word.startswith("of=")), form


def lookup(readme: str, results: Path, experiment: str) -> dict[str, Any]:
    """What the marks of an experiment in ``readme`` ask for, found in its results folder."""
    asked = sorted(
        {what for of, what, _ in (_asked(mark["what"]) for mark in MARK.finditer(readme)) if of == experiment}
    )
    numbers: dict[str, Any] = {what: number_of(results, what.split()) for what in asked}
    is_table = any(block["experiment"] == experiment for block in BLOCK.finditer(readme))
    return numbers | ({"table": table_of(results)} if is_table else {})


def fill(page: str, numbers: Numbers) -> str:
    """``page`` with every mark and table showing the number kept for it; those of other experiments stay."""

    def one(mark: re.Match) -> str:
        experiment, what, form = _asked(mark["what"])
        if experiment not in numbers:
            return mark[0]
        if what not in numbers[experiment]:
            raise ValueError(f"mark {what!r}: docs/numbers.json has no such number; run make readme")
        return f"{mark[1]}{_shown(numbers[experiment][what], form)}{mark[4]}"

    def rows(block: re.Match) -> str:
        kept = numbers.get(block["experiment"])
        return f"{block[1]}\n{chr(10).join(kept['table'])}\n\n{block[4]}" if kept else block[0]

    return BLOCK.sub(rows, MARK.sub(one, page))


def _shown(value: float, form: str) -> str:
    return format(100 * value, form.replace("%", "f")) if form.endswith("%") else format(value, form)


def main(folders: Sequence[str]) -> None:
    """Look up the numbers of each results folder, keep them, and write them into the pages."""
    pages = {path: path.read_text(encoding="utf-8") for path in PAGES}
    numbers: Numbers = _read(NUMBERS) if NUMBERS.exists() else {}
    for folder in map(Path, folders):
        numbers[folder.name] = lookup("\n".join(pages.values()), folder, folder.name)
    for path, text in (
        (NUMBERS, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"),
        *((path, fill(page, numbers)) for path, page in pages.items()),
    ):
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

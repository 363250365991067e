"""What it took: time, memory and speed by rule; what it was made from: the data; and by which rules it was judged."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eval.protocols.protocol import load_protocol
from eval.report.parts import Cell, Folded, Heading, Part, Prose, Table, two_columns
from eval.report.pictures import sheet

# Protocols that are code and no file: eval/metrics/grounded.py and eval/grounding.py.
WITHOUT_FILE = {
    "grounded": "A reader of drawn scenes: a picture is right if every thing, colour, shape, size, number, relation "
    "and the ground are as its caption says. Its one threshold is set on real pictures.",
    "psnr": "10 · log10(255² / mean squared difference) of a reconstruction and its original, dB, mean over pictures.",
}
OVERLAPS = {
    "captions": "captions that also occur in training",
    "contents": "captions whose content also occurs in training",
    "pictures": "reference pictures with a near-duplicate in training",
}


def cost(costs: str | Path, throughput: str | Path) -> Iterator[Part]:
    """A row for each rule, the dearest first."""
    speed = pd.read_parquet(throughput).set_index("rule")
    rules = pd.read_parquet(costs).sort_values("wall_s", ascending=False)
    headings = [Heading("rule", is_number=False)]
    headings += [Heading("jobs"), Heading("time", "sum over jobs, s"), Heading("CPU time", "s")]
    headings += [Heading("memory", "largest job, MiB"), Heading("speed", "a second of a job")]
    rows = []
    for row in rules.itertuples():
        numbers = [_number_cell(value) for value in (row.jobs, row.wall_s, row.cpu_s, row.max_rss_mb)]
        rate = Cell()
        if row.rule in speed.index:
            its = speed.loc[row.rule]
            rate = _number_cell(float(its["per_second"]), its["unit"])
        rows.append([Cell(row.rule), *numbers, rate])
    yield Prose(
        f"All jobs together: {rules['wall_s'].sum() / 60:.1f} minutes; jobs that ran side by side count in full."
    )
    yield Table("What each rule took", headings, rows)


def _number_cell(value: float, note: str = "") -> Cell:
    """Empty for what nobody measured: a job may end before Snakemake first looks at its memory."""
    if pd.isna(value):
        return Cell()
    return Cell(f"{value:,.1f}" if 0 < value < 100 and value != int(value) else f"{value:,.0f}", note, value)


def data(
    report: str | Path, overlap: str | Path, table: str | Path | None, sheets: Mapping[str, str | Path | None]
) -> Iterator[Part]:
    """The sets of pictures and what they share with training; of photographs the data report's table and sheets."""
    facts = json.loads(Path(report).read_text(encoding="utf-8"))
    sizes = [[Cell(name), _number_cell(num)] for name, num in facts.pop("pictures", {}).items()]
    yield Table("Pictures", [Heading("set", is_number=False), Heading("pictures")], sizes)
    twins = pd.read_parquet(overlap).groupby("suite")["overlap"].mean()
    said = facts.pop("overlap", {})
    yield _overlap({suite: {**said.get(suite, {}), "pictures": share} for suite, share in twins.items()})
    yield from (sheet(path, f"Sheet: {words}", words) for words, path in sheets.items() if path is not None)
    if table is not None:
        yield _facts(pd.read_csv(table, keep_default_na=False))
        return
    rest = {name.replace("_", " "): _counted(value) for name, value in facts.items() if not isinstance(value, Mapping)}
    if rest:
        yield two_columns("Of the captions", ("fact", "value"), rest)


def _counted(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _plain(value)


def _overlap(overlap: Mapping[str, Mapping[str, float]]) -> Table:
    kinds = [kind for kind in OVERLAPS if any(kind in shares for shares in overlap.values())]
    headings = [Heading("suite", is_number=False), *(Heading(OVERLAPS[kind], "%") for kind in kinds)]
    rows = [[Cell(suite), *(_share(shares.get(kind)) for kind in kinds)] for suite, shares in overlap.items()]
    return Table("What the suites share with training", headings, rows)


def _share(share: float | None) -> Cell:
    return Cell() if share is None else Cell(f"{100 * share:.1f}", value=share)


def _facts(table: pd.DataFrame) -> Table:
    """Any table, as it is."""
    are_numbers = [pd.to_numeric(table[name].replace("", None), errors="coerce").notna().any() for name in table]
    headings = [Heading(name, is_number=is_number) for name, is_number in zip(table, are_numbers, strict=True)]
    rows = [[Cell(str(value), value=_as_number(value)) for value in row] for row in table.itertuples(index=False)]
    return Table("The data report", headings, rows)


def _as_number(value: object) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def protocols(metrics: pd.DataFrame) -> Iterator[Part]:
    """Every protocol that a number of this page came about by, in its own words."""
    labels = sorted({*metrics["protocol"], *metrics["blur_protocol"]} - {""})
    yield two_columns("By which rules", ("protocol", "what it is"), {label: _about(label) for label in labels})
    yield Prose(
        "Intervals are of 95 %, over prompts. Few pictures bias FID upwards, and no interval shows that: compare rows "
        "of one suite only."
    )


def _about(label: str) -> str:
    """The protocol's own words."""
    family = label.partition(".")[0]
    return WITHOUT_FILE[family] if family in WITHOUT_FILE else load_protocol(label).about


def provenance(settings: Mapping[str, Any], record: str | Path) -> Iterator[Part]:
    """What ran where, digests of code, data and weights, and the settings."""
    facts = json.loads(Path(record).read_text(encoding="utf-8"))
    yield two_columns("What ran", ("fact", "value"), _together(facts["environments"]))
    yield Folded("Digests", [two_columns("Digests", ("of", "SHA-256"), dict(_leaves(facts["digests"])))])
    yield Folded("Settings", [two_columns("Settings", ("key", "value"), dict(_leaves(settings)))])


def _together(places: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each fact once; where jobs ran in unlike places, all its values. A job that needs no torch knows no processor."""
    names = dict.fromkeys(name for place in places for name in place)
    values = {
        name: dict.fromkeys(_plain(place[name]) for place in places if place.get(name) is not None) for name in names
    }
    return {name: " / ".join(found) or "none" for name, found in values.items()}


def _leaves(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in group.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return str(value)

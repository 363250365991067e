"""The page: which sections it has, from which files they come, and how it is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dalle.provenance import atomic
from eval.report import models, numbers, people, running, samples
from eval.report.drawings import read_svg
from eval.report.parts import Drawing, Part, Prose, Section

Paths = Sequence[str | Path]


@dataclass(frozen=True)
class Files:
    """What the page is made from. Lists have a file for each suite, in the order of the page."""

    metrics: str | Path
    image_scores: str | Path
    cost: str | Path
    throughput: str | Path
    verdicts: str | Path
    verdicts_text: str | Path
    clip_report: str | Path
    data_report: str | Path
    overlap: str | Path
    figure9: str | Path
    candidates: str | Path
    training: str | Path
    human: str | Path
    logs: Paths
    real: Paths
    pictures: Paths
    selections: Paths
    reference: str | Path
    dvae_start: str | Path
    dvae: str | Path
    completions: str | Path
    provenance: str | Path
    data_table: str | Path | None = None
    data_figure: str | Path | None = None
    overlap_sheet: str | Path | None = None


def write_report(files: Files, settings: Mapping[str, Any], out: str | Path) -> None:
    """Writes the page ``out`` about the experiment of ``settings``. It asks nobody for anything when it is opened."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    metrics = pd.read_parquet(files.metrics)
    page = environment.get_template("page.html.j2").render(
        experiment=settings["experiment"], subtitle=_subtitle(metrics), sections=sections(files, metrics, settings)
    )
    with atomic(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def sections(files: Files, metrics: pd.DataFrame, settings: Mapping[str, Any]) -> list[Section]:
    """The page from top to bottom. What an experiment does not have is said in a sentence in its place."""
    suites = [
        samples.Suite.read(*its, files.image_scores)
        for its in zip(files.real, files.pictures, files.selections, strict=True)
    ]
    logs = {Path(path).parent.name: path for path in files.logs}
    systems = {"dvae_start": files.dvae_start, "dvae": files.dvae}
    found = [
        ("results", "Results at a glance", numbers.headline(metrics)),
        ("figure9", "Quality against blur and against N", _figures(files, metrics)),
        ("samples", "Samples, best of N", [_suites_in_words(metrics), *samples.growing(suites)]),
        ("extremes", "The best and the worst", [*samples.wrong_share(suites), *samples.extremes(suites)]),
        ("completions", "Completions", models.completions(files.reference, files.completions)),
        (
            "reconstructions",
            "Reconstructions",
            models.reconstructions(files.reference, systems, files.image_scores),
        ),
        ("training", "Training", [*models.training(files.training, logs), *models.reranker(files.clip_report)]),
        ("people", "What people say", people.people(files.verdicts, files.verdicts_text, files.human)),
        ("cost", "What it took", running.cost(files.cost, files.throughput)),
        ("data", "Data", _data(files)),
        ("protocols", "Protocols", running.protocols(metrics)),
        ("provenance", "Provenance", running.provenance(settings, files.provenance)),
    ]
    return [Section(name, title, list(parts)) for name, title, parts in found]


def _figures(files: Files, metrics: pd.DataFrame) -> list[Part]:
    return [
        Drawing(
            read_svg(files.figure9),
            f"FID and Inception Score against blur, and both against N. {numbers.curves_in_words(metrics, 'blur')}.",
            "Figure 9 of the paper: FID (a) and Inception Score (b) against the radius of a blur that hides the same "
            "in all pictures, and both against N (c). A falling curve means something only beside that of real "
            "pictures.",
        ),
        Drawing(
            read_svg(files.candidates),
            f"Metrics against N. {numbers.curves_in_words(metrics, 'n_candidates')}.",
            "What choosing among N candidates gains. Level lines are yardsticks, which have no N.",
        ),
    ]


def _data(files: Files) -> Iterator[Part]:
    sheets = {
        "What the source delivered and the filters took.": files.data_figure,
        "Reference pictures and the training pictures most like them.": files.overlap_sheet,
    }
    return running.data(files.data_report, files.overlap, files.data_table, sheets)


def _suites_in_words(metrics: pd.DataFrame) -> Prose:
    names = metrics["suite"].unique()
    if len(names) > 1:
        return Prose("From left to right the reranker chooses among more and more candidates of the same caption.")
    return Prose(f"This experiment has one suite, {names[0]}: no combinations of things are held out.", True)


def _subtitle(metrics: pd.DataFrame) -> str:
    sizes = metrics.groupby("suite")["n"].max()
    captions = " and ".join(f"{num:,} captions of suite {suite}" for suite, num in sizes.items())
    return f"Up to {metrics['n_candidates'].max()} pictures for each of {captions}, seed {metrics['seed'].iloc[0]}."

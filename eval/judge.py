"""One judgement without a workflow: a folder of pictures against another, on the same road as an experiment.

The folders become a little experiment of one suite in a temporary place; features, sweep and tables are the workflow's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from dalle.intake import take_in
from dalle.manifest import numbered, open_pictures, prompts_of
from eval.agreement import COLUMNS as SCORE_COLUMNS
from eval.agreement import write_agreement
from eval.extractors import load_extractor
from eval.features import write_features
from eval.protocols.protocol import BlurProtocol, ClipProtocol, FidProtocol, IsProtocol, load_protocol
from eval.shown import Shown
from eval.sweep import Rules, write_metrics
from eval.tables import read_table, write_table

SUITE = "given"
NUMBERS = ["n_candidates", "blur", "blur_protocol", "value", "low", "high", "n", "n_reference"]
SHOWN = ["protocol", "metric", *NUMBERS, "seed", "extractor_digest", "warning"]


@dataclass(frozen=True)
class Question:
    """What is to be judged, and how."""

    pictures: Path
    reference: Path | None  # None where no protocol compares with other pictures
    captions: Path | None  # a manifest; None: the folder is read without one, in the order of file names
    rules: Rules
    radius: float = 0
    weights: Mapping[str, str] = field(default_factory=dict)


def judge(question: Question, store: str | Path | None = None) -> pd.DataFrame:
    """The metrics of ``question.pictures``, a row for each protocol, metric and N; columns as ``SHOWN``.

    ``store`` keeps features for a later time; without one they are forgotten. Raises ValueError for pictures that
    cannot be read or are not what the captions say, and for protocols that need what was not given.
    """
    check(question)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        _take_in(question, place)
        _extract(question, place, place / "store" if store is None else store)
        _write_scores(question, place)
        shown = Shown.read(
            sorted(place.glob("features/*/*/*/*.safetensors")),
            [_selection(place)],
            place / "image_scores.parquet",
            place / "overlap.parquet",
        )
        write_metrics(shown, question.rules, "", place / "metrics.parquet", place / "differences.parquet", jobs=1)
        return read_table(place / "metrics.parquet")[SHOWN]


def check(question: Question) -> None:
    """Raises ValueError for protocols that need what was not given, before any picture is read."""
    load_protocol(question.rules.blur_protocol, BlurProtocol)
    networks = {space.network for space in question.rules.spaces} | {p.model for p in question.rules.of(ClipProtocol)}
    if unused := sorted(set(question.weights) - networks):
        raise ValueError(
            f"weights of {unused[0]}: no protocol uses them; allowed here are {', '.join(sorted(networks))}"
        )
    for protocol in map(load_protocol, question.rules.protocols):
        if isinstance(protocol, FidProtocol) and question.reference is None:
            raise ValueError(f"protocol {protocol.label} compares with other pictures: --reference FOLDER is needed")
        if isinstance(protocol, ClipProtocol) and question.captions is None:
            raise ValueError(f"protocol {protocol.label} compares with captions: --captions FILE is needed")
        if isinstance(protocol, ClipProtocol) and protocol.model == "own":
            raise ValueError(f"protocol {protocol.label} is for an experiment's own model; allowed are other clip.*")
        if not isinstance(protocol, FidProtocol | IsProtocol | ClipProtocol):
            raise ValueError(f"protocol {protocol.label} measures nothing by itself; allowed are fid.*, is.*, clip.*")


def _archive(place: Path, system: str) -> Path:
    return place / "systems" / system / f"{SUITE}.parquet"


def _selection(place: Path, system: str = "pictures") -> Path:
    return place / "systems" / system / f"{SUITE}.selection.parquet"


def _take_in(question: Question, place: Path) -> None:
    pictures = open_pictures(question.pictures, question.captions)
    take_in(pictures, prompts_of(pictures.rows), _archive(place, "pictures"), _selection(place))
    if question.reference is not None:
        reference = numbered(open_pictures(question.reference))
        take_in(reference, prompts_of(reference.rows), _archive(place, "reference"), _selection(place, "reference"))
    no_overlap = pd.DataFrame({"suite": pd.Series(dtype=str), "prompt_id": [], "overlap": pd.Series(dtype=bool)})
    write_table(no_overlap, place / "overlap.parquet")


def _extract(question: Question, place: Path, store: str | Path) -> None:
    """Features of both sides in every space that a protocol asks for."""
    blur = load_protocol(question.rules.blur_protocol, BlurProtocol)
    for space in question.rules.spaces:
        extractor = load_extractor(space, question.weights.get(space.network))
        for source in ("pictures", "reference"):
            if _archive(place, source).exists():
                out = place / f"features/{space.label}/{source}/{SUITE}/blur{question.radius:g}.safetensors"
                write_features(_archive(place, source), out, extractor, blur, question.radius, store)


def _write_scores(question: Question, place: Path) -> None:
    labels: Sequence[str] = [protocol.label for protocol in question.rules.of(ClipProtocol)]
    out, archives = place / "image_scores.parquet", [_archive(place, "pictures")]
    write_table(pd.DataFrame(columns=SCORE_COLUMNS), out)
    if labels:
        write_agreement(archives, labels, None, None, question.weights, out)

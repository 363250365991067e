"""The data report: what a source delivered, what each filter took, and what is odd, long, small or there twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dalle.provenance import atomic
from dalle.sheets import write_sheet
from dalle.tokenizer import Tokenizer

COLUMNS = ["section", "item", "captions", "pictures", "value", "note"]
QUANTILES = {"least": 0.0, "median": 0.5, "95 %": 0.95, "greatest": 1.0}
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito's, as in the other figures


def write_data_report(
    folder: str | Path, tokenizer: str | Path, context: int, out: str | Path, figure: str | Path
) -> None:
    """Writes the table ``out`` (parquet, and CSV beside it) and the ``figure`` (PNG) about the data in ``folder``.

    ``folder`` has what :func:`dalle.data.real.write_photographs` and :func:`dalle.data.duplicates.write_overlap` wrote.
    A row of the table is one fact: section, item, how many captions and pictures it is about, its value where it is
    none of these, and the rule as a note. Sizes, and caption lengths in tokens, are those of what is used: captions
    that passed the filters, prompts, and what was held back.
    """
    folder = Path(folder)
    report, overlap = (_read(folder / name) for name in ("report.json", "overlap.json"))
    captions = pd.read_parquet(folder / "captions.parquet")
    captions = captions[captions["used"] != ""]
    described = captions[captions["caption"] != ""]
    lengths = num_tokens(Tokenizer(tokenizer), described["caption"].tolist())
    rows = [*_counts(report), *_sizes(captions), *_lengths(lengths, context), *_overlaps(overlap)]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"captions": "Int64", "pictures": "Int64"})
    with atomic(out) as temporary:
        table.to_parquet(temporary, index=False)
    write_sheet(table, Path(out).with_suffix(".csv"))
    pairs = pd.read_csv(folder / "overlap_pairs.csv")
    _draw(report, captions, lengths, context, pairs, overlap, figure)


def num_tokens(words: Tokenizer, captions: list[str]) -> Int64[np.ndarray, " n"]:
    """How many positions of the context each caption needs."""
    return np.array([len(each.ids) for each in words.bpe.encode_batch(captions)])


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _counts(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for split, counts in report["delivered"].items():
        yield {"section": "delivered", "item": split} | {name: counts[name] for name in ("captions", "pictures")}
        captioned = {"pictures": counts["captioned"], "captions": counts["captions"]}
        yield {"section": "delivered", "item": f"{split}, with captions"} | captioned
    for note, num in report["notes"].items():
        yield {"section": "notes of the source", "item": note, "value": num}
    for step in report["filters"]:
        taken = {"captions": step["captions"], "pictures": step["pictures"]}
        left = f"{step['captions_left']} captions of {step['pictures_left']} pictures left"
        yield (
            {"section": "taken by filter", "item": step["step"]}
            | taken
            | {"note": f"{step['rule']}: {left}" if step["rule"] else left}
        )
    for name, odd in report["odd_pictures"].items():
        yield {"section": "odd pictures", "item": name, "pictures": odd["pictures"], "note": odd["rule"]}
    for name, num in report["pictures"].items():
        yield {"section": "archives", "item": name, "pictures": num}
    prompts = report["prompts"]
    yield {"section": "prompts", "item": "of suite val", "captions": prompts["captions"], "note": prompts["digest"]}


def _sizes(captions: pd.DataFrame) -> Iterator[dict[str, Any]]:
    pictures = _sized(captions)
    for side in ("width", "height"):
        for name, share in QUANTILES.items():
            value = pictures[side].quantile(share)
            yield {"section": "sizes", "item": f"{side}, {name}", "pictures": len(pictures), "value": value}


def _sized(captions: pd.DataFrame) -> pd.DataFrame:
    return captions.drop_duplicates("image_id").query("width > 0")


def _lengths(lengths: Int64[np.ndarray, " n"], context: int) -> Iterator[dict[str, Any]]:
    for name, share in QUANTILES.items():
        value = np.quantile(lengths, share)
        yield {"section": "tokens of a caption", "item": name, "captions": len(lengths), "value": value}
    longer = int((lengths > context).sum())
    yield {"section": "tokens of a caption", "item": f"more than the context of {context}", "captions": longer}


def _overlaps(overlap: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for suite, counts in overlap["suites"].items():
        yield {"section": "overlap with training", "item": suite, "pictures": counts["overlap"]}
    twice = overlap["training_pictures_with_the_hash_of_another"]
    yield {"section": "overlap within training", "item": "equal hashes", "pictures": twice}


def _draw(
    report: dict[str, Any],
    captions: pd.DataFrame,
    lengths: Int64[np.ndarray, " n"],
    context: int,
    pairs: pd.DataFrame,
    overlap: dict[str, Any],
    out: str | Path,
) -> None:
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    _draw_sizes(panels[0], _sized(captions))
    _draw_lengths(panels[1], lengths, context)
    _draw_filters(panels[2], report["filters"])
    _draw_likeness(panels[3], pairs, overlap["min_likeness"])
    left = report["filters"][-1]["captions_left"]
    figure.suptitle(f"{report['prompts']['captions']:,} prompts, {left:,} captions to train on")
    with atomic(out) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})


def _draw_sizes(axes: Axes, pictures: pd.DataFrame) -> None:
    axes.scatter(pictures["width"], pictures["height"], s=8, alpha=0.4, color=BLUE, lw=0)
    greatest = 1.05 * pictures[["width", "height"]].to_numpy().max()
    for ratio in (0.5, 2):
        axes.axline((0, 0), slope=1 / ratio, color=ORANGE, lw=1, ls="--")
    axes.set(xlim=(0, greatest), ylim=(0, greatest), xlabel="width, pixels", ylabel="height, pixels")
    axes.set_title("sizes; dashed: aspect ratios 1/2 and 2")


def _draw_lengths(axes: Axes, lengths: Int64[np.ndarray, " n"], context: int) -> None:
    axes.hist(lengths, bins=np.arange(0, max(int(lengths.max()), context) + 2), color=BLUE)
    axes.axvline(context, color=ORANGE, lw=1, ls="--")
    axes.set(xlabel="tokens of a caption", ylabel="captions", title="caption lengths; dashed: the context")


def _draw_filters(axes: Axes, filters: list[dict[str, Any]]) -> None:
    names = [step["step"] for step in filters]
    bars = axes.barh(names, [step["captions_left"] for step in filters], color=BLUE)
    axes.bar_label(bars, [f"−{step['captions']:,}" if step["rule"] else "" for step in filters], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xlabel="training captions left", title="what each filter took")


def _draw_likeness(axes: Axes, pairs: pd.DataFrame, threshold: float) -> None:
    axes.hist(pairs["likeness"].clip(0, 1), bins=np.linspace(0, 1, 51), color=BLUE)
    axes.axvline(threshold, color=ORANGE, lw=1, ls="--")
    axes.set(xlabel="likeness of the nearest training picture", ylabel="reference pictures")
    axes.set_title("near-duplicates; dashed: what counts as one")

"""What the trained models can do: reconstructions, completions, training curves, the reranker's mistakes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from eval.report.drawings import read_svg
from eval.report.parts import Cell, Drawing, Grid, Heading, Part, Prose, Row, Table
from eval.report.pictures import read_pictures, tile
from eval.style import look_of

NUM_RECONSTRUCTED = 8


def reconstructions(
    reference: str | Path, systems: Mapping[str, str | Path], image_scores: str | Path
) -> Iterator[Part]:
    """The first pictures of ``reference`` over what each of the ``systems`` makes of them, with their PSNR."""
    prompts = pd.read_parquet(reference, columns=["prompt_id"])["prompt_id"].head(NUM_RECONSTRUCTED).tolist()
    suite = Path(reference).stem
    asked = [("suite", "==", suite), ("metric", "==", "psnr"), ("system", "in", list(systems))]
    found = pd.read_parquet(image_scores, filters=asked)
    quality = found.set_index(["system", "prompt_id"])["value"].to_dict()
    originals = read_pictures(reference, prompts)
    rows = [Row("originals", [tile(originals[prompt, 0], f"original {prompt}") for prompt in prompts])]
    for system, archive in systems.items():
        made = read_pictures(archive, prompts)
        tiles = [
            tile(made[prompt, 0], f"reconstruction of {prompt}", label=_decibels(quality.get((system, prompt))))
            for prompt in prompts
        ]
        rows.append(Row(look_of(system).name, tiles))
    yield Grid(f"The first pictures of suite {suite}, and what the codes keep of them.", rows)


def _decibels(quality: float | None) -> str:
    return "" if quality is None else f"{quality:.1f} dB"


def completions(reference: str | Path, archive: str | Path) -> Iterator[Part]:
    """Each completed picture beside its completions."""
    drawn = pd.read_parquet(archive, columns=["prompt_id", "candidate", "caption"])
    prompts = drawn["prompt_id"].unique().tolist()
    originals, made = read_pictures(reference, prompts), read_pictures(archive, prompts)
    rows = []
    for (prompt, caption), its in drawn.groupby(["prompt_id", "caption"], sort=False):
        tiles = [tile(originals[prompt, 0], f"the picture itself: {caption}", label="the picture")]
        tiles += [
            tile(made[prompt, k], f"completion {k + 1} of: {caption}", label=f"drawn {k + 1}", is_half_kept=True)
            for k in its["candidate"]
        ]
        rows.append(Row(caption, tiles))
    yield Grid(
        "Above the line are the codes of the real picture, below it is what the prior drew. Shown are the first drawn; "
        "nobody chose.",
        rows,
    )


def training(figure: str | Path, logs: Mapping[str, str | Path]) -> Iterator[Part]:
    """The curves, and in words where each began and ended."""
    yield Drawing(
        read_svg(figure),
        f"Losses against updates. {_ends(logs)}.",
        "Pale: as logged; full: the running mean over a twentieth of the log. The dVAE's KL stands apart, because the "
        "loss has it with a weight β that grows from 0 over the first tenth of the updates and lifts the loss with it. "
        "The nats are those of relaxed codes and of small batches; what training gains is told by the PSNR in the "
        "first table.",
    )


def _ends(logs: Mapping[str, str | Path]) -> str:
    ends = []
    for stage, path in logs.items():
        loss = pd.read_csv(path)["loss"].dropna()
        if len(loss):
            tenth = max(1, len(loss) // 10)
            ends.append(f"{stage}: from {loss.iloc[0]:.3g} to {loss.tail(tenth).mean():.3g}")
    return "; ".join(ends)


def reranker(report: str | Path) -> Iterator[Part]:
    """How often it chooses rightly between two, one of them with a mistake."""
    found = json.loads(Path(report).read_text(encoding="utf-8"))
    if retrieval := found.pop("retrieval", None):
        share = f"{100 * retrieval['accuracy']:.1f} % of cases"
        yield Prose(f"The reranker finds the right picture among {retrieval['n']:,} in {share}.")
    aspects = dict.fromkeys(name.removeprefix("picture ") for name in found)
    if not aspects:
        yield Prose("Nobody could plant mistakes: only drawn scenes come with facts to change.", True)
        return
    headings = [Heading("what is wrong in the other", is_number=False)]
    headings += [Heading(text) for text in ("of two captions, %", "of two pictures, %", "n")]
    rows = []
    for aspect in aspects:
        two = [found.get(aspect), found.get(f"picture {aspect}")]
        num = next(result["n"] for result in two if result)
        rows.append([Cell(aspect), *map(_share, two), Cell(f"{num:,}", value=num)])
    yield Table(
        "How often the reranker chooses rightly between two, one of them with a mistake; chance 50 %", headings, rows
    )


def _share(result: dict[str, float] | None) -> Cell:
    return Cell(f"{100 * result['accuracy']:.1f}", value=result["accuracy"]) if result else Cell()

"""What was found out about single pictures. Of scenes each is graded: systems' pictures, and all candidates."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from tqdm import tqdm

from dalle.images import iter_archive, psnr, read_archive, read_rows
from dalle.models.dvae import decode_codes, ready_dvae
from dalle.provenance import atomic
from eval.metrics.grounded import Scene, fix_threshold, grade, read
from eval.tables import write_table

RECONSTRUCTIONS = ("dvae", "dvae_start")  # systems that show the reference pictures themselves
KEYS = ["prompt_id", "candidate"]
BATCH = 256  # pictures read at a time
COLUMNS = ["system", "suite", "protocol", *KEYS, "metric", "value", "extractor_digest"]
# Rules that are code alone: what a number means changes with the version.
GROUNDED, PSNR = "grounded.scenes@1", "psnr.rgb@1"
OWN = "clip.own@1"  # the protocol of what the experiment's own reranker says


def write_image_scores(
    references: list[str | Path],
    pictures: list[str | Path],
    candidates: list[str | Path],
    scores: list[str | Path],
    agreement: str | Path,
    dvae_folder: str | Path,
    reranker: str,
    out: str | Path,
) -> None:
    """The table image_scores: one row for each picture and metric; of scenes also how far the reader can be trusted.

    ``references`` are …/{suite}.parquet, ``pictures`` …/{system}/{suite}.parquet, ``candidates`` and ``scores``
    …/{suite}/{shard}/{block}.parquet, ``agreement`` rows of this table. ``reranker``, the
    setting rerank.model, says whose the scores are. Metrics: ``grounded`` and its parts (0 or 1), ``fit`` (worst IoU),
    ``rerank_score``, ``psnr`` (dB, reconstructions only), and those of ``agreement``. Pictures of another size than the
    world's are not graded, and the log says so. reader.json beside ``out`` has the shape
    threshold, fixed on the references before anything else is read, and the reader's accuracy on other real pictures.
    Nobody knows what is in a photograph: of references without scenes nothing is graded, and there is no reader.json.
    """
    is_graded = all((read_rows(path)["scene"] != "").all() for path in references)
    tables = [_psnr(Path(path), references) for path in pictures if Path(path).parent.name in RECONSTRUCTIONS]
    tables += [_rerank_scores(Path(path), reranker) for path in scores]
    tables.append(pd.read_parquet(agreement))
    if is_graded:
        threshold, shape = _fix_on(references)
        others = [Path(path) for path in pictures if Path(path).parent.name != "dalle1"]
        tables += [_grade_archive(path, threshold, shape) for path in others]
        tables += _grade_candidates([Path(path) for path in candidates], references, dvae_folder, threshold)
    table = pd.concat(tables)[COLUMNS].sort_values(["system", "suite", *KEYS, "metric"], ignore_index=True)
    if is_graded:
        _write_reader(Path(out).with_name("reader.json"), table, threshold)
        grades = table.loc[(table["system"] == "dalle1") & (table["metric"] == "grounded"), "value"]
        print(f"image_scores: {100 * grades.mean():.1f} % of our {len(grades):,} candidates are right")
    write_table(table, out)


def _fix_on(references: list[str | Path]) -> tuple[float, tuple[int, ...]]:
    """The reader's threshold, and the shape of the world's pictures."""
    readings, truths = [], []
    for path in references:
        rows, pixels = read_archive(path)
        readings += [read(picture) for picture in pixels]
        truths += [Scene.from_json(text) for text in rows["scene"]]
    return fix_threshold(readings, truths), pixels.shape[1:]


def _grade_archive(path: Path, threshold: float, shape: tuple[int, ...]) -> pd.DataFrame:
    tables, pictures = zip(*iter_archive(path, BATCH), strict=True)
    sizes = {picture.shape for batch in pictures for picture in batch}
    if sizes != {shape}:
        logging.warning("%s: pictures of %s, the world's are %s: not graded", path, sorted(sizes)[:3], shape)
        return pd.DataFrame(columns=COLUMNS)
    graded = _grade(pd.concat(tables), np.concatenate([np.stack(batch) for batch in pictures]), threshold)
    return graded.assign(system=path.parent.name, suite=path.stem)


def _grade_candidates(
    paths: list[Path], references: list[str | Path], dvae_folder: str | Path, threshold: float
) -> list[pd.DataFrame]:
    dvae = ready_dvae(dvae_folder)
    scenes = {Path(path).stem: read_rows(path).set_index("prompt_id")["scene"] for path in references}
    tables = []
    for path in tqdm(paths, desc="grade", unit=" files"):
        suite, drawn = path.parents[1].name, pd.read_parquet(path)
        drawn["scene"] = scenes[suite].loc[drawn["prompt_id"]].to_numpy()
        pixels = decode_codes(dvae, np.stack(drawn["codes"].tolist()))
        tables.append(_grade(drawn, pixels, threshold).assign(system="dalle1", suite=suite))
    return tables


def _grade(rows: pd.DataFrame, pixels: UInt8[np.ndarray, "n h w 3"], threshold: float) -> pd.DataFrame:
    """Long table of prompt_id, candidate, metric, value."""
    grades = pd.DataFrame(list(_grades(rows["scene"], pixels, threshold)), dtype=float)
    wide = pd.concat([rows[KEYS].reset_index(drop=True), grades], axis=1)
    return wide.melt(KEYS, var_name="metric", value_name="value").assign(protocol=GROUNDED, extractor_digest="")


def _grades(
    scenes: pd.Series, pixels: UInt8[np.ndarray, "n h w 3"], threshold: float
) -> Iterator[dict[str, bool | float]]:
    for text, picture in zip(scenes, pixels, strict=True):
        reading = read(picture)
        yield grade(reading, Scene.from_json(text), threshold) | {"fit": reading.fit}


def _psnr(path: Path, references: list[str | Path]) -> pd.DataFrame:
    reference = next(Path(other) for other in references if Path(other).stem == path.stem)
    (rows, pixels), (_, truth) = read_archive(path), read_archive(reference)
    values = psnr(pixels, truth)
    place = {"system": path.parent.name, "suite": path.stem}
    return rows[KEYS].assign(**place, protocol=PSNR, metric="psnr", value=values, extractor_digest="")


def _rerank_scores(path: Path, reranker: str) -> pd.DataFrame:
    scores = pd.read_parquet(path).rename(columns={"score": "value"})
    place = {"system": "dalle1", "suite": path.parents[1].name}
    protocol = OWN if reranker == "own" else f"rerank.{reranker}"
    return scores.assign(**place, protocol=protocol, metric="rerank_score", extractor_digest="")


def _write_reader(path: str | Path, table: pd.DataFrame, threshold: float) -> None:
    on_real = table[(table["system"] == "real") & (table["metric"] == "grounded")]["value"]
    report = {"threshold": threshold, "accuracy": float(on_real.mean()), "n": len(on_real)}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

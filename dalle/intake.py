"""Strangers' pictures become an archive and a selection, the form in which every system is judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64
from tqdm import tqdm

from dalle.images import ROW_GROUP, archive_writer
from dalle.manifest import Pictures
from dalle.provenance import atomic


def take_in(pictures: Pictures, prompts: pd.DataFrame, out: str | Path, selection: str | Path) -> None:
    """An archive of the distinct winners of all N, each decoded once, and the selection: which one stands for which N.

    N = 1, 2, 4, … as far as there are candidates; with one candidate a prompt, N = 1. ``prompts`` has prompt_id,
    caption and perhaps scene, one row a prompt. The archive keeps the pictures' sizes, and its column ``lossy`` says
    which files were not exact.

    Raises ValueError for pictures that do not answer the prompts as :func:`dalle.manifest.match` wants it, for several
    candidates without scores, and for a winner that cannot be read.
    """
    pictures = pictures.answering(prompts)
    best = _best_of_first(pictures)  # prompts × N
    num_prompts, num_n = best.shape
    num_candidates = len(pictures) // num_prompts
    winners = np.unique(best + num_candidates * np.arange(num_prompts)[:, None])
    scenes = prompts.set_index("prompt_id")["scene"] if "scene" in prompts else {}
    rows = pictures.rows.iloc[winners]
    rows = rows.assign(scene=rows["prompt_id"].map(scenes).fillna("").astype(str))
    _write_pictures(replace(pictures, rows=rows), out)
    chosen = {
        "prompt_id": np.repeat(prompts["prompt_id"].to_numpy(), num_n),
        "n_candidates": np.tile(2 ** np.arange(num_n), num_prompts),
        "candidate": best.ravel(),
    }
    with atomic(selection) as temporary:
        pd.DataFrame(chosen).to_parquet(temporary, index=False)


def _best_of_first(pictures: Pictures) -> Int64[np.ndarray, "prompts powers"]:
    """The best of each prompt's first 1, 2, 4, … candidates by score; ties go to the earlier one."""
    rows = pictures.rows
    num_prompts, num_candidates = rows["prompt_id"].nunique(), rows["candidate"].max() + 1
    if num_candidates > 1 and "score" not in rows:
        raise ValueError(
            f"{pictures.source}: {num_candidates} candidates a prompt and no column score to choose by; "
            "allowed are scores, or one candidate"
        )
    scores = rows["score"] if "score" in rows else pd.Series(0.0, rows.index)
    table = scores.to_numpy().reshape(num_prompts, num_candidates)
    powers = [2**power for power in range(int(num_candidates).bit_length())]
    return np.stack([table[:, :n].argmax(axis=1) for n in powers], axis=1)


def _write_pictures(pictures: Pictures, out: str | Path) -> None:
    rows = pictures.rows
    progress = tqdm(range(len(rows)), desc="decode", unit=" pictures", disable=None)
    decoded = map(pictures.load, progress)
    with archive_writer(out) as append:
        for start in range(0, len(rows), ROW_GROUP):
            part = rows.iloc[start : start + ROW_GROUP]
            images, lossy = zip(*(next(decoded) for _ in range(len(part))), strict=True)
            append(part.assign(lossy=lossy), images)

"""Yardsticks: systems that know the answer, or none of it. Each leaves an archive and a selection like any other."""

from pathlib import Path

import numpy as np
import pandas as pd

from dalle.images import read_archive, write_archive
from dalle.models.dvae import decode_codes, encode_pictures, ready_dvae
from dalle.seeding import seed_for
from dalle.systems.dalle1 import write_selection


def write_real(real: str | Path, out: str | Path, selection: str | Path) -> None:
    """Real pictures as a system. Others than the reference are the floor of FID; those that show what the captions
    say are the ceiling of everything else."""
    rows, pixels = read_archive(real)
    write_archive(out, rows, pixels)
    _write_only_choice(selection, rows)


def write_reconstructions(
    reference: str | Path, dvae_folder: str | Path, weights: str, out: str | Path, selection: str | Path
) -> None:
    """The reference pictures through the dVAE: what its codes allow. ``weights`` is "weights" or "start"."""
    rows, pixels = read_archive(reference)
    dvae = ready_dvae(dvae_folder, weights)
    write_archive(out, rows, decode_codes(dvae, encode_pictures(dvae, pixels)))
    _write_only_choice(selection, rows)


def write_shuffled(
    pictures: str | Path, selection_in: str | Path, out: str | Path, selection: str | Path, seed: int
) -> None:
    """A system's pictures under wrong captions: what chance gives.

    Captions move in one cycle of random order, so no picture keeps its own. A picture moves with its prompt's
    others; prompt_id and scene become those of the caption it now stands under. Raises ValueError for a single caption.
    """
    rows, pixels = read_archive(pictures)
    prompts = rows.drop_duplicates("prompt_id").set_index("prompt_id")[["caption", "scene"]]
    if len(prompts) < 2:
        raise ValueError(f"{pictures}: one caption cannot be shuffled, at least two can")
    cycle = np.random.default_rng(seed_for(seed, "shuffled", len(prompts))).permutation(prompts.index)
    moved = dict(zip(cycle.tolist(), np.roll(cycle, 1).tolist(), strict=True))
    rows["prompt_id"] = rows["prompt_id"].map(moved)
    rows[["caption", "scene"]] = prompts.loc[rows["prompt_id"]].to_numpy()
    write_archive(out, rows, pixels)
    chosen = pd.read_parquet(selection_in)
    write_selection(selection, chosen.assign(prompt_id=chosen["prompt_id"].map(moved)))


def _write_only_choice(selection: str | Path, rows: pd.DataFrame) -> None:
    write_selection(selection, rows[["prompt_id", "candidate"]].assign(n_candidates=1))

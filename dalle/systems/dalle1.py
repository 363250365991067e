"""DALL·E 1 as a system: the winners among its candidates, as pictures."""

from pathlib import Path

import numpy as np
import pandas as pd

from dalle.images import read_rows, write_archive
from dalle.models.dvae import decode_codes, ready_dvae
from dalle.provenance import atomic

SELECTION_COLUMNS = ["prompt_id", "n_candidates", "candidate"]


def write_pictures(
    winners: str | Path,
    candidates: list[str | Path],
    dvae_folder: str | Path,
    prompts: str | Path,
    out: str | Path,
    selection: str | Path,
) -> None:
    """An archive of the distinct winners of all N, each decoded once, and the selection: which one stands for which N.

    The archive's ``scene`` is what the picture should show.
    """
    chosen = pd.read_parquet(winners)[SELECTION_COLUMNS]
    distinct = chosen[["prompt_id", "candidate"]].drop_duplicates().sort_values(["prompt_id", "candidate"])
    drawn = pd.concat([pd.read_parquet(path, columns=["prompt_id", "candidate", "codes"]) for path in candidates])
    rows = distinct.merge(drawn, "left", validate="one_to_one").merge(
        read_rows(prompts).drop(columns="candidate"), "left"
    )
    pixels = decode_codes(ready_dvae(dvae_folder), np.stack(rows["codes"].tolist()))
    write_archive(out, rows.drop(columns="codes"), pixels)
    write_selection(selection, chosen)


def write_selection(path: str | Path, selection: pd.DataFrame) -> None:
    """Which picture of an archive stands for best-of-N: prompt_id, n_candidates, candidate."""
    with atomic(path) as temporary:
        selection[SELECTION_COLUMNS].to_parquet(temporary, index=False)

"""Best of N: candidates scored by the contrastive model, and the winner among the first N for every N (paper §2.6)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64, UInt8

from dalle.images import read_rows, to_float
from dalle.provenance import atomic

if TYPE_CHECKING:
    from open_clip.model import CLIP


def score(
    candidates: str | Path,
    dvae_folder: str | Path,
    clip_folder: str | Path,
    tokenizer: str | Path,
    prompts: str | Path,
    out: str | Path,
    batch_size: int,
) -> None:
    """Writes prompt_id, candidate, score of every candidate, row by row.

    A score is the scaled cosine similarity of the candidate's picture (its codes through the dVAE, rounded to 256
    levels as in an archive) and its caption in the archive ``prompts``. Raises ValueError for a candidate whose
    prompt_id is not there.
    """
    from dalle.models.clip import load_clip
    from dalle.models.dvae import decode_codes, load_dvae
    from dalle.tokenizer import Tokenizer

    drawn = pd.read_parquet(candidates, columns=["prompt_id", "candidate", "codes"])
    captions = read_rows(prompts).set_index("prompt_id")["caption"]
    unknown = sorted(set(drawn["prompt_id"]) - set(captions.index))
    if unknown:
        raise ValueError(f"{candidates}: prompt_id {unknown[0]} is not in {prompts}")
    dvae, model = load_dvae(dvae_folder), load_clip(clip_folder)
    tokens = Tokenizer(tokenizer).encode(captions.tolist(), model.context_length)
    own = captions.index.get_indexer(drawn["prompt_id"])

    parts = [np.empty(0)]
    for start in range(0, len(drawn), batch_size):
        batch = slice(start, start + batch_size)
        pictures = decode_codes(dvae, np.stack(drawn["codes"].iloc[batch].tolist()))
        parts.append(similarities(model, pictures, tokens[own[batch]]))
    _write(out, drawn[["prompt_id", "candidate"]].assign(score=np.concatenate(parts)))


def similarities(
    model: "CLIP", pictures: UInt8[np.ndarray, "n h w 3"], tokens: Int64[np.ndarray, "n context"]
) -> Float[np.ndarray, " n"]:
    """The scaled cosine similarity of each picture and its caption."""
    import torch

    with torch.inference_mode():
        images = model.encode_image(to_float(pictures), normalize=True)
        texts = model.encode_text(torch.from_numpy(tokens), normalize=True)
        return (model.logit_scale.exp() * (images * texts).sum(-1)).double().numpy()


def best_of(scores: Float[np.ndarray, " candidates"], n: int) -> int:
    """The index of the highest of the first ``n`` scores; ties go to the earlier candidate.

    Raises ValueError unless there are ``n`` candidates, n ≥ 1.
    """
    if not 1 <= n <= len(scores):
        raise ValueError(f"best of {n}: there are {len(scores)} candidates")
    return int(np.argmax(scores[:n]))  # argmax gives the first of equal ones


def write_winners(scores: list[str | Path], out: str | Path, n_candidates: tuple[int, ...]) -> None:
    """One row for each prompt and N: prompt_id, n_candidates, candidate, score of the best of candidates 0 … N - 1.

    ``scores`` are the score files of all shards and blocks, in any order. Raises ValueError for a prompt that does not
    have candidates 0 … N - 1, each once.
    """
    table = pd.concat([pd.read_parquet(path) for path in scores]).sort_values(["prompt_id", "candidate"])
    winners = []
    for prompt_id, group in table.groupby("prompt_id"):
        numbers, values = group["candidate"].to_numpy(), group["score"].to_numpy()
        if not np.array_equal(numbers[: n_candidates[-1]], np.arange(n_candidates[-1])):
            raise ValueError(f"winners: prompt {prompt_id} lacks one of the candidates 0 … {n_candidates[-1] - 1}")
        chosen = [best_of(values, n) for n in n_candidates]
        winners += [(prompt_id, n, best, values[best]) for n, best in zip(n_candidates, chosen, strict=True)]
    _write(out, pd.DataFrame(winners, columns=["prompt_id", "n_candidates", "candidate", "score"]))


def _write(path: str | Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)

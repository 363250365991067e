"""Best of N: candidates scored by the contrastive model, and the winner among the first N for every N (paper §2.6)."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from dalle.images import read_rows, to_float
from dalle.provenance import atomic


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
    import torch

    from dalle.models.clip import load_clip
    from dalle.models.dvae import load_dvae
    from dalle.systems.codes import decode_codes
    from dalle.systems.dalle1 import grids
    from dalle.tokenizer import Tokenizer

    drawn = pd.read_parquet(candidates, columns=["prompt_id", "candidate", "codes"])
    rows = read_rows(prompts)
    unknown = sorted(set(drawn["prompt_id"]) - set(rows["prompt_id"]))
    if unknown:
        raise ValueError(f"{candidates}: prompt_id {unknown[0]} is not in {prompts}")
    dvae, model = load_dvae(dvae_folder), load_clip(clip_folder)
    caption_of = {prompt: number for number, prompt in enumerate(rows["prompt_id"])}
    scores = []
    with torch.inference_mode():
        tokens = Tokenizer(tokenizer).encode(rows["caption"].tolist(), model.context_length)
        texts = model.encode_text(torch.from_numpy(tokens), normalize=True)
        for start in range(0, len(drawn), batch_size):
            batch = drawn.iloc[start : start + batch_size]
            pictures = to_float(decode_codes(dvae, grids(batch["codes"])))
            own = texts[batch["prompt_id"].map(caption_of).to_numpy()]
            scores.append(model.logit_scale.exp() * (model.encode_image(pictures, normalize=True) * own).sum(-1))
    _write(out, drawn[["prompt_id", "candidate"]].assign(score=torch.cat(scores).double().numpy() if scores else []))


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

"""Best of N: candidates scored by a contrastive model, and the winner among the first N for every N (paper §2.6).

A score is the same to the last bit whoever is scored beside it: pictures and captions pass through the models in
batches of one size, the last one filled up.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float32, Int64, UInt16
from tqdm import tqdm

from dalle.config.sampling import Rerank
from dalle.images import read_rows
from dalle.models.contrastive import Contrastive, open_clip_contrastive, open_clip_weights, own_contrastive
from dalle.models.dvae import DiscreteVAE, decode_codes
from dalle.models.weights import find_weights
from dalle.provenance import atomic

BATCH = 64  # pictures, or captions, that pass through a model together
SEGMENT = 4096  # candidates held in memory
READ = 1 << 20  # bytes read at a time: a row group may hold millions of candidates
SCHEMA = pa.schema({"prompt_id": pa.int64(), "candidate": pa.int64(), "score": pa.float32()})


def load_reranker(settings: Rerank, results: str | Path) -> Contrastive:
    """The model that chooses: the one trained in the folder ``results``, or one of open_clip's.

    Raises ValueError for a model that open_clip does not know, and for weights that are not there, saying how to get
    them.
    """
    if settings.model == "own":
        return own_contrastive(Path(results) / "clip", Path(results) / "tokenizer" / "tokenizer.json")
    import open_clip

    name, known = settings.model, open_clip.list_models()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0)
        raise ValueError(f"rerank.model: {name!r} is no model of open_clip's, nor own; did you mean {near[0]}?")
    tag = None if settings.checkpoint else settings.pretrained
    source = open_clip_weights(name, settings.pretrained)
    path, digest = find_weights(name, source, settings.checkpoint, None, "rerank.pretrained: PATH")
    return open_clip_contrastive(name, tag, path, digest)


def score(
    candidates: str | Path, prompts: str | Path, out: str | Path, dvae: DiscreteVAE, reranker: Contrastive
) -> None:
    """Writes prompt_id, candidate, score (float32) of every candidate, row by row, and the reranker's digest beside.

    A score is the scaled cosine similarity of the candidate's picture (its codes through the dVAE, rounded to 256
    levels as in an archive) and its caption in the archive ``prompts``. Pictures never touch the disk, and memory does
    not grow with the number of candidates. Captions that the model does not see whole are counted in the log. Raises
    ValueError for a candidate whose prompt_id is not there.
    """
    captions = read_rows(prompts).set_index("prompt_id")["caption"]
    schema = SCHEMA.with_metadata({"reranker": reranker.digest})
    texts: dict[int, Float32[np.ndarray, " dim"]] = {}
    with atomic(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for drawn in _segments(candidates):
            unknown = sorted(set(drawn["prompt_id"]) - set(captions.index))
            if unknown:
                raise ValueError(f"{candidates}: prompt_id {unknown[0]} is not in {prompts}")
            texts = _texts_of(drawn["prompt_id"].unique(), captions, texts, reranker)
            own = np.stack([texts[prompt_id] for prompt_id in drawn["prompt_id"]])
            scores = score_codes(np.stack(drawn["codes"].tolist()), own, dvae, reranker)
            table = drawn[["prompt_id", "candidate"]].assign(score=scores)
            writer.write_table(pa.Table.from_pandas(table, schema, preserve_index=False))


def _segments(candidates: str | Path) -> Iterator[pd.DataFrame]:
    """The rows of a candidates file, SEGMENT at a time."""
    num = pq.read_metadata(candidates).num_rows
    with (
        pq.ParquetFile(candidates, pre_buffer=False, buffer_size=READ) as file,
        tqdm(total=num, desc="score", unit=" pictures", disable=None) as progress,
    ):
        for part in file.iter_batches(SEGMENT, columns=["prompt_id", "candidate", "codes"]):
            yield part.to_pandas()
            progress.update(part.num_rows)


def _texts_of(
    prompts: Int64[np.ndarray, " prompts"],
    captions: "pd.Series[str]",
    known: dict[int, Float32[np.ndarray, " dim"]],
    reranker: Contrastive,
) -> dict[int, Float32[np.ndarray, " dim"]]:
    """The vector of each prompt's caption; those of the segment before are not computed again."""
    new = [prompt_id for prompt_id in prompts if prompt_id not in known]
    if not new:
        return known
    told = captions.loc[new].tolist()
    num_cut = int(reranker.truncated(told).sum())
    if num_cut:
        logging.warning("%d of %d captions are cut: they are longer than the reranker reads", num_cut, len(told))
    texts = dict(zip(new, embed_captions(told, reranker), strict=True))
    return texts | {prompt_id: known[prompt_id] for prompt_id in prompts if prompt_id in known}


def embed_captions(captions: Sequence[str], reranker: Contrastive) -> Float32[np.ndarray, "n dim"]:
    """Vectors of unit length. A caption's vector has the same bits whatever the other captions are."""
    return _in_full_batches(reranker.embed_texts, captions)


def score_codes(
    codes: UInt16[np.ndarray, "n cells"], texts: Float32[np.ndarray, "n dim"], dvae: DiscreteVAE, reranker: Contrastive
) -> Float32[np.ndarray, " n"]:
    """The scaled cosine similarity of the picture of each row of codes and its text: the same bits in any company."""

    def embed(rows: list[UInt16[np.ndarray, " cells"]]) -> Float32[np.ndarray, "batch dim"]:
        return reranker.embed_pictures(decode_codes(dvae, np.stack(rows)))

    return np.float32(reranker.scale) * (_in_full_batches(embed, codes) * texts).sum(axis=1)


def _in_full_batches(
    embed: Callable[[list], Float32[np.ndarray, "batch dim"]], items: Sequence
) -> Float32[np.ndarray, "n dim"]:
    """Always BATCH together: the kernels, and with them the last bits, are chosen by the shape of a batch."""
    parts = []
    for start in range(0, len(items), BATCH):
        batch = list(items[start : start + BATCH])
        parts.append(embed(batch + batch[:1] * (BATCH - len(batch)))[: len(batch)])
    return np.concatenate(parts)


def best_of(scores: Float[np.ndarray, " candidates"], n: int) -> int:
    """The index of the highest of the first ``n`` scores; ties go to the earlier candidate.

    Raises ValueError unless there are ``n`` candidates, n ≥ 1.
    """
    if not 1 <= n <= len(scores):
        raise ValueError(f"best of {n}: there are {len(scores)} candidates")
    return int(np.argmax(scores[:n]))  # argmax gives the first of equal ones


def best_of_first(scores: Float[np.ndarray, "prompts candidates"]) -> Int64[np.ndarray, "prompts candidates"]:
    """In column N - 1 the index of the highest of each prompt's first N scores: :func:`best_of` of every prefix."""
    highest = np.maximum.accumulate(scores, axis=1)
    is_new = np.ones(scores.shape, bool)
    is_new[:, 1:] = scores[:, 1:] > highest[:, :-1]  # an equal score does not dethrone the earlier candidate
    return np.maximum.accumulate(np.where(is_new, np.arange(scores.shape[1]), 0), axis=1)


def write_winners(scores: list[str | Path], out: str | Path, n_candidates: tuple[int, ...]) -> None:
    """One row for each prompt and N: prompt_id, n_candidates, candidate, score of the best of candidates 0 … N - 1.

    ``scores`` are the score files of all shards and blocks, in any order. Raises ValueError for a prompt that does not
    have candidates 0 … N - 1, each once.
    """
    table, numbers = pd.concat([pd.read_parquet(path) for path in scores]), np.arange(n_candidates[-1])
    table = table[table["candidate"] < len(numbers)].sort_values(["prompt_id", "candidate"])
    prompts = table["prompt_id"].unique()
    for prompt_id, found in table.groupby("prompt_id")["candidate"]:
        if not np.array_equal(found, numbers):
            raise ValueError(
                f"winners: prompt {prompt_id} lacks one of the candidates 0 … {numbers[-1]}, or has it twice"
            )
    values = table["score"].to_numpy().reshape(len(prompts), len(numbers))
    best = best_of_first(values)[:, np.array(n_candidates) - 1]
    winners = {
        "prompt_id": prompts.repeat(len(n_candidates)),
        "n_candidates": np.tile(n_candidates, len(prompts)),
        "candidate": best.ravel(),
        "score": np.take_along_axis(values, best, axis=1).ravel(),
    }
    with atomic(out) as temporary:
        pd.DataFrame(winners).to_parquet(temporary, index=False)

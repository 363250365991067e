"""The candidates archive: N drawings a caption, kept as codes (paper §2.6).

A candidate is a function of (seed, suite, prompt_id, candidate) to the last bit. Its uniforms follow from those names.
Its logits could still depend, in the last digit, on how many rows are multiplied together and on which row is its own;
so candidates are always decoded in the same company: tile t of a caption is its candidates t·TILE … (t+1)·TILE − 1, in
that order, however the work is cut into shards and blocks.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from tqdm import tqdm

from dalle import config
from dalle.images import read_rows
from dalle.models.transformer import load_transformer
from dalle.provenance import atomic
from dalle.sampling.decode import Decoder
from dalle.sampling.draw import draw_token
from dalle.seeding import seed_for, uniforms
from dalle.tokenizer import Tokenizer

TILE = 32  # part of what a candidate is: another value may change one code in many millions
SCHEMA = pa.schema(
    {
        "prompt_id": pa.int64(),
        "candidate": pa.int64(),
        "seed": pa.int64(),
        "log_likelihood": pa.float64(),
        "codes": pa.list_(pa.uint16()),
    }
)


@torch.inference_mode()
def draw(
    prompts: str | Path,
    prior_folder: str | Path,
    tokenizer: str | Path,
    out: str | Path,
    settings: config.Sampling,
    seed: int,
    suite: str,
    shard: int,
    block: int,
) -> None:
    """Draw candidates block·size … (block+1)·size − 1, size = ``settings.block``, of every caption of a shard.

    Shard s has the rows s, s + shards, s + 2·shards … of the archive ``prompts``. Writes one parquet row a candidate:
    prompt_id, candidate, seed, log_likelihood (of its codes under the model itself, untempered and untruncated, nats)
    and codes (uint16, raster order). Raises ValueError for a shard or block that does not exist, for a tokenizer that
    is not the model's, and for a caption that is too long.
    """
    if not (0 <= shard < settings.shards and 0 <= block < settings.blocks):
        raise ValueError(f"shard {shard} of {settings.shards}, block {block} of {settings.blocks}: counted from 0")
    model, words = load_transformer(prior_folder), Tokenizer(tokenizer)
    if words.vocab_size != model.shape.text_vocab:
        raise ValueError(
            f"{tokenizer} has {words.vocab_size} tokens, the model of {prior_folder} {model.shape.text_vocab}"
        )
    rows = read_rows(prompts).iloc[shard :: settings.shards]
    texts = torch.from_numpy(words.encode(rows["caption"].tolist(), model.shape.text_context))
    numbers = range(block * settings.block, (block + 1) * settings.block)
    tiles = range(numbers[0] // TILE, numbers[-1] // TILE + 1)

    decoder, drawn = Decoder(model, TILE), []
    tokens = len(rows) * len(tiles) * TILE * model.shape.cells
    with tqdm(total=tokens, desc=f"{suite} {shard}", unit=" tokens", unit_scale=True, mininterval=1) as progress:
        for prompt_id, text in zip(rows["prompt_id"].tolist(), texts, strict=True):
            for tile in tiles:
                table = draw_tile(decoder, text, settings, (seed, suite, prompt_id), tile)
                drawn.append(table[table["candidate"].isin(numbers)])
                progress.update(TILE * model.shape.cells)
    table = pd.concat(drawn) if drawn else pd.DataFrame(columns=SCHEMA.names)
    with atomic(out) as temporary:
        pq.write_table(pa.Table.from_pandas(table, SCHEMA, preserve_index=False), temporary)


def draw_tile(
    decoder: Decoder, text: Int64[Tensor, " text"], settings: config.Sampling, name: tuple[int, str, int], tile: int
) -> pd.DataFrame:
    """The candidates of one tile of the caption ``text``, whose name is (seed, suite, prompt_id)."""
    numbers = list(range(tile * TILE, (tile + 1) * TILE))
    seeds = [seed_for(*name, number) for number in numbers]
    chance = torch.from_numpy(np.stack([uniforms(seed, decoder.model.shape.cells) for seed in seeds]))
    codes, log_likelihood = decode(decoder, text, chance, settings)
    return pd.DataFrame(
        {
            "prompt_id": name[-1],
            "candidate": numbers,
            "seed": seeds,
            "log_likelihood": log_likelihood.numpy(),
            "codes": list(codes.numpy().astype(np.uint16)),
        }
    )


def decode(
    decoder: Decoder, text: Int64[Tensor, " text"], chance: Float[Tensor, "rows cells"], settings: config.Sampling
) -> tuple[Int64[Tensor, "rows cells"], Float[Tensor, " rows"]]:
    """The codes that the uniforms ``chance`` draw, and their log-likelihood under the untempered model, nats."""
    logits, drawn, log_likelihood = decoder.prefill(text), [], torch.zeros(len(chance), dtype=torch.float64)
    for cell, at in enumerate(chance.T):
        if cell > 0:
            logits = decoder.step(cell - 1, drawn[-1])
        drawn.append(draw_token(logits, at, settings.temperature, settings.top_k, settings.top_p))
        log_likelihood += logits.log_softmax(-1).gather(-1, drawn[-1][:, None])[:, 0]
    return torch.stack(drawn, dim=1), log_likelihood

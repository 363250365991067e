"""The candidates archive: N drawings a caption, kept as codes (paper §2.6).

A shard is drawn batch by batch. Each batch is a file of its own in a folder beside the archive, until the archive is
written whole and the folder goes. So a job that was killed goes on where it was, and several processes share a shard.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int64
from tqdm import tqdm

from dalle.config.sampling import Sampling
from dalle.images import read_rows
from dalle.models.transformer import Transformer, load_transformer
from dalle.provenance import code_digest, file_digest
from dalle.sampling.decode import on_device
from dalle.sampling.parts import Parts
from dalle.sampling.sampler import Drawn, Prompt, Sampler
from dalle.tokenizer import Tokenizer

CODE = ("dalle/sampling", "dalle/models", "dalle/seeding.py", "dalle/tokenizer.py")
SCHEMA = pa.schema(
    {
        "prompt_id": pa.int64(),
        "candidate": pa.int64(),
        "seed": pa.int64(),
        "log_likelihood": pa.float64(),
        "codes": pa.list_(pa.uint16()),
    }
)


def draw(
    prompts: str | Path,
    prior_folder: str | Path,
    tokenizer: str | Path,
    out: str | Path,
    settings: Sampling,
    seed: int,
    suite: str,
    shard: int,
    block: int,
) -> None:
    """Draw candidates block·size … (block+1)·size − 1, size = ``settings.block``, of every caption of a shard.

    Shard s has the rows s, s + shards, s + 2·shards … of the archive ``prompts``. Writes one parquet row a candidate:
    prompt_id, candidate, seed, log_likelihood (of its codes under the model itself, untempered, untruncated and
    unguided, nats) and codes (uint16, raster order). Several processes (accelerate, torchrun) share the work. Raises
    ValueError for a shard or block that does not exist, for a tokenizer that is not the model's, for a caption that is
    too long, and for guidance by a model that never learnt from an empty caption.
    """
    from accelerate import PartialState

    if not (0 <= shard < settings.shards and 0 <= block < settings.blocks):
        raise ValueError(f"shard {shard} of {settings.shards}, block {block} of {settings.blocks}: counted from 0")
    model, words = load_prior(prior_folder, tokenizer, settings)
    rows = read_rows(prompts).iloc[shard :: settings.shards]
    texts = words.encode(rows["caption"].tolist(), model.shape.text_context)
    names = [(seed, suite, prompt_id) for prompt_id in rows["prompt_id"].tolist()]
    asked = [Prompt(name, text) for name, text in zip(names, texts, strict=True)]
    numbers = range(block * settings.block, (block + 1) * settings.block)

    process = PartialState(cpu=not torch.cuda.is_available())
    empty = empty_caption(words, model.shape.text_context, settings)
    sampler = Sampler(on_device(model, process.device), asked, numbers, settings, empty=empty)
    with process.main_process_first():
        parts = Parts(out, _key(prior_folder, settings, names, texts, numbers, sampler))
    mine = [n for n in parts.missing(len(sampler.batches)) if n % process.num_processes == process.process_index]
    title, total = f"{suite} {shard} on {process.device}", sum(sampler.tokens(sampler.batches[n]) for n in mine)
    with tqdm(total=total, desc=title, unit=" tokens", unit_scale=True, mininterval=1) as progress:
        for n in mine:
            parts.write(n, _table(sampler.draw(sampler.batches[n], progress.update)))
    process.wait_for_everyone()
    if process.is_main_process:
        parts.join(out, SCHEMA)


def load_prior(folder: str | Path, tokenizer: str | Path, settings: Sampling) -> tuple[Transformer, Tokenizer]:
    """The model of ``folder`` and its tokenizer.

    Raises ValueError if they do not fit, or if ``settings`` ask for guidance and ``model.json`` does not say, by an
    ``empty_captions`` above 0, that the model has learnt from pictures with an empty caption.
    """
    model, words = load_transformer(folder), Tokenizer(tokenizer)
    if words.vocab_size != model.shape.text_vocab:
        raise ValueError(f"{tokenizer} has {words.vocab_size} tokens, the model of {folder} {model.shape.text_vocab}")
    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    if settings.guidance != 1 and not facts.get("empty_captions"):
        raise ValueError(
            f"sampling.guidance: {settings.guidance} needs a prior that has learnt from empty captions, that of "
            f"{folder} has not; allowed is 1"
        )
    return model, words


def empty_caption(words: Tokenizer, context: int, settings: Sampling) -> Int64[np.ndarray, " context"] | None:
    """The text that guidance leads away from; None without guidance."""
    return None if settings.guidance == 1 else words.encode([""], context)[0]


def _table(drawn: list[Drawn]) -> pa.Table:
    """One row a candidate."""
    columns = {
        "prompt_id": np.concatenate([np.full(len(one.candidates), one.prompt.name[-1]) for one in drawn]),
        "candidate": np.concatenate([one.candidates for one in drawn]),
        "seed": np.concatenate([one.seeds for one in drawn]),
        "log_likelihood": np.concatenate([one.log_likelihood for one in drawn]),
        "codes": [row for one in drawn for row in one.codes],
    }
    return pa.table(columns, schema=SCHEMA)


def _key(
    prior_folder: str | Path,
    settings: Sampling,
    names: list[tuple[int, str, int]],
    texts: Int64[np.ndarray, "n text"],
    numbers: range,
    sampler: Sampler,
) -> str:
    """A digest of all that the parts of a shard follow from, and of how it is cut into them."""
    digest = hashlib.sha256(texts.tobytes())
    files = [file_digest(Path(prior_folder) / name) for name in ("model.json", "weights.safetensors")]
    for fact in (code_digest(*CODE), *files, settings.model_dump_json(), names, numbers, len(sampler.batches)):
        digest.update(f"{fact}\n".encode())
    return digest.hexdigest()

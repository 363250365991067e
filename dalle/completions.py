"""Pictures completed: the upper half of a real picture is kept as codes, the rest is drawn (paper §3.3).

Nobody chooses among the completions: shown are the first that were drawn.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dalle.config.sampling import Sampling
from dalle.device import best_device
from dalle.images import read_archive, write_archive
from dalle.models.dvae import decode_codes, encode_pictures, ready_dvae
from dalle.sampling.candidates import empty_caption, load_prior
from dalle.sampling.decode import on_device
from dalle.sampling.sampler import Prompt, Sampler


def write_completions(
    archive: str | Path,
    prior_folder: str | Path,
    tokenizer: str | Path,
    dvae_folder: str | Path,
    out: str | Path,
    settings: Sampling,
    seed: int,
    num_pictures: int = 6,
    num_completions: int = 4,
) -> None:
    """Completes the first pictures of ``archive`` under their own captions, from the upper half of their codes.

    Writes an image archive with a row for each completion, ``candidate`` counted from 0. A completion depends on the
    models, the picture, the settings and its own number. Raises ValueError as :func:`dalle.sampling.candidates.draw`.
    """
    rows, pictures = read_archive(archive)
    rows, pictures = rows.head(num_pictures), pictures[:num_pictures]
    prior, words = load_prior(prior_folder, tokenizer, settings)
    dvae, shape = ready_dvae(dvae_folder), prior.shape
    prior = on_device(prior, best_device())
    kept = encode_pictures(dvae, pictures)[:, : shape.grid // 2].reshape(len(rows), -1)
    texts = words.encode(rows["caption"].tolist(), shape.text_context)
    empty = empty_caption(words, shape.text_context, settings)
    codes = []
    for prompt_id, text, given in zip(rows["prompt_id"], texts, kept, strict=True):
        prompt = Prompt((seed, "completions", int(prompt_id)), text)
        start = torch.from_numpy(given.astype(np.int64))
        sampler = Sampler(prior, [prompt], range(num_completions), settings, start, empty)
        codes += [drawn.codes for batch in sampler.batches for drawn in sampler.draw(batch)]
    repeated = rows.loc[rows.index.repeat(num_completions)].reset_index(drop=True)
    repeated["candidate"] = np.tile(np.arange(num_completions), len(rows))
    write_archive(out, pd.DataFrame(repeated), decode_codes(dvae, np.concatenate(codes)))

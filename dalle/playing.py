"""What people can do with the models of a results folder: draw pictures for a caption, complete a picture, take one
through the codes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8, UInt16

from dalle.config.sampling import Sampling
from dalle.device import best_device
from dalle.models.contrastive import Contrastive, own_contrastive
from dalle.models.dvae import DiscreteVAE, decode_codes, encode_pictures, ready_dvae
from dalle.models.transformer import Transformer
from dalle.prompts import encode_cut, num_tokens
from dalle.provenance import ROOT
from dalle.rerank import embed_captions, score_codes
from dalle.sampling.candidates import empty_caption, load_prior
from dalle.sampling.decode import on_device
from dalle.sampling.sampler import OnTokens, Prompt, Sampler
from dalle.tokenizer import Tokenizer

FILES = {
    "tokenizer": ("tokenizer.json",),
    "dvae": ("model.json", "weights.safetensors"),
    "prior": ("model.json", "weights.safetensors"),
    "clip": ("model.json", "weights.safetensors"),
}
T = TypeVar("T")
NOTHING = np.empty(0, np.uint16)  # codes given before drawing


@dataclass(frozen=True)
class Models:
    """All that a picture for a caption needs."""

    words: Tokenizer
    prior: Transformer
    dvae: DiscreteVAE
    reranker: Contrastive


@dataclass(frozen=True)
class Wish:
    """How many candidates are drawn and how many of them are shown."""

    num: int
    best: int
    seed: int
    sampling: Sampling  # temperature, truncation, guidance


@dataclass(frozen=True)
class Chosen:
    """The best candidates of a caption, the best one first."""

    caption: str
    candidates: Int64[np.ndarray, " best"]
    scores: Float32[np.ndarray, " best"]
    pictures: UInt8[np.ndarray, "best side side 3"]


def load_models(results: Path, sampling: Sampling) -> Models:
    """The models of a results folder, to draw by ``sampling``, on the GPU if there is one.

    Raises ValueError for what is missing there, was made by other code, or cannot draw so.
    """
    check_results(results, list(FILES))
    tokenizer = results / "tokenizer" / "tokenizer.json"
    prior, words = _load(lambda folder: load_prior(folder, tokenizer, sampling), results / "prior")
    reranker = _load(lambda folder: own_contrastive(folder, tokenizer), results / "clip")
    return Models(words, on_device(prior, best_device()), load_codes(results), reranker)


def load_codes(results: Path) -> DiscreteVAE:
    """The dVAE of a results folder. Raises ValueError as :func:`load_models`."""
    check_results(results, ["dvae"])
    return _load(ready_dvae, results / "dvae")


def picture_side(results: Path) -> int:
    """Side of the pictures that the models of a results folder work with, pixels. Raises ValueError as they do."""
    check_results(results, ["dvae", "prior"])
    dvae, prior = (_load(_facts, results / part) for part in ("dvae", "prior"))
    return dvae["downsample"] * prior["shape"]["grid"]


def _facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def check_results(results: Path, parts: Sequence[str]) -> None:
    """Raises ValueError, which names the command that helps, for a folder without the files of ``parts``."""
    settings = f"workflow/config/{results.name}.yaml"
    option = f" --configfile {settings}" if (ROOT / settings).is_file() else ""
    if not results.is_dir():
        raise ValueError(f"{results}: there is no such folder; `snakemake --cores all{option}` makes one below results")
    missing = [f"{part}/{name}" for part in parts for name in FILES[part] if not (results / part / name).is_file()]
    if missing:
        command = f"snakemake results/{results.name}/{missing[0]} --cores all{option}"
        raise ValueError(f"{results} lacks {', '.join(missing)}; `{command}` makes the first of them")


def _load(load: Callable[[Path], T], folder: Path) -> T:
    try:
        return load(folder)
    except Exception as error:  # as many kinds as there are ways for a file to hold something else
        if type(error) is ValueError:  # our own words
            raise
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"{folder} does not hold what this code makes; make it anew ({reason})") from error


def read_caption(models: Models, caption: str, is_cut: bool) -> Int64[np.ndarray, " context"]:
    """The caption's tokens as the prior reads them.

    Raises ValueError for a caption that does not fit into the prior's context, unless ``is_cut``: then its end is left
    out.
    """
    context, needed = models.prior.shape.text_context, num_tokens(models.words, caption)
    if needed > context and not is_cut:
        raise ValueError(
            f"caption {caption!r} has {needed} tokens, the model reads {context}: shorten it, or cut it with --truncate"
        )
    return encode_cut(models.words, [caption], context)[0]


def draw(
    models: Models,
    captions: Mapping[str, Int64[np.ndarray, " context"]],
    wish: Wish,
    given: UInt16[np.ndarray, " given"] = NOTHING,
    on_tokens: OnTokens = lambda num: None,
) -> dict[str, UInt16[np.ndarray, "num cells"]]:
    """The codes of candidates 0 … ``wish.num`` - 1 of each caption, whose first cells are ``given``.

    ``captions`` are texts with their tokens. A candidate depends on the models, ``given``, the wish's seed and
    settings, the caption and its own number: not on how many are drawn, nor on the other captions.
    """
    prompts = [Prompt((wish.seed, "playing", caption), tokens) for caption, tokens in captions.items()]
    empty = empty_caption(models.words, models.prior.shape.text_context, wish.sampling)
    prompt = torch.from_numpy(given.astype(np.int64))
    sampler = Sampler(models.prior, prompts, range(wish.num), wish.sampling, prompt, empty)
    codes: dict[str, list[UInt16[np.ndarray, "some cells"]]] = {caption: [] for caption in captions}
    for batch in sampler.batches:
        for drawn in sampler.draw(batch, on_tokens):
            codes[drawn.prompt.name[-1]].append(drawn.codes)
    return {caption: np.concatenate(parts) for caption, parts in codes.items()}


def choose(models: Models, caption: str, codes: UInt16[np.ndarray, "num cells"], best: int) -> Chosen:
    """The ``best`` candidates by the reranker's score; of equal ones the earlier goes first."""
    texts = embed_captions([caption], models.reranker).repeat(len(codes), axis=0)
    scores = score_codes(codes, texts, models.dvae, models.reranker)
    order = np.argsort(-scores, kind="stable")[:best]
    return Chosen(caption, order, scores[order], decode_codes(models.dvae, codes[order]))


def kept_rows(keep: float, grid: int) -> int:
    """How many of ``grid`` rows of codes stay when the share ``keep`` of a picture is kept: some, and not all."""
    return min(max(round(keep * grid), 1), grid - 1)


def through_codes(
    dvae: DiscreteVAE, pictures: UInt8[np.ndarray, "n side side 3"]
) -> UInt8[np.ndarray, "n side side 3"]:
    """The pictures through the dVAE's codes: the best that a prior on these codes could draw."""
    return decode_codes(dvae, encode_pictures(dvae, pictures))

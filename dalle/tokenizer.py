"""Captions as numbers: byte-pair encoding of lower-cased text, filled to a fixed context (paper §2.2).

A piece is a run of the letters a–z, or any other single character: digits and punctuation are never merged, as in the
paper. There the space stood alone, too (``spaces: alone``); with ``joined`` it belongs to the word that follows, which
halves the context a caption needs. A character that no training caption has becomes ``[unk]``.
"""

from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import tokenizers
from jaxtyping import Int64
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from dalle.config.models import Tokenizer as TokenizerSettings
from dalle.images import read_rows
from dalle.provenance import atomic

SPACE = "▁"
UNKNOWN = "[unk]"


def train_tokenizer(train: str | Path, out: str | Path, settings: TokenizerSettings) -> None:
    """Learn the merges from the captions of the archive ``train`` and write them to ``out``.

    The vocabulary is smaller than ``settings.vocab_size`` when every word is one token before that. Raises ValueError
    if ``settings.vocab_size`` does not even hold the single characters.
    """
    bpe = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN))
    clean = [normalizers.Lowercase(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), SPACE)]
    joined = settings.spaces == "joined"
    bpe.normalizer = normalizers.Sequence([*clean, normalizers.Prepend(SPACE)] if joined else clean)
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex(f"{SPACE}?[a-z]+|[^a-z]" if joined else "[a-z]+|[^a-z]"), "isolated")
    bpe.decoder = decoders.Metaspace(SPACE, prepend_scheme="always" if joined else "never")
    trainer = trainers.BpeTrainer(vocab_size=settings.vocab_size, special_tokens=[UNKNOWN], show_progress=False)
    bpe.train_from_iterator(read_rows(train)["caption"], trainer)
    if bpe.get_vocab_size() > settings.vocab_size:
        raise ValueError(
            f"tokenizer.vocab_size: {settings.vocab_size} is less than the {bpe.get_vocab_size()} characters of {train}"
        )
    bpe.model.dropout = settings.dropout or None
    with atomic(out) as temporary:
        bpe.save(str(temporary))


class Tokenizer:
    """A trained tokenizer. Ids below ``vocab_size`` are text; ``vocab_size + p`` says that position p is empty.

    Each position so has its own pad, with its own learnt embedding. A table of embeddings for a context of c
    positions has ``vocab_size + c`` rows.
    """

    def __init__(self, path: str | Path):
        self.bpe = tokenizers.Tokenizer.from_file(str(path))
        self.vocab_size: int = self.bpe.get_vocab_size()
        self.dropout: float = self.bpe.model.dropout or 0.0
        self.bpe.model.dropout = None  # the library's own dropout cannot be seeded: see _merge

    def encode(
        self, captions: list[str], context: int, generator: np.random.Generator | None = None
    ) -> Int64[np.ndarray, "n context"]:
        """The ids of each caption, pads after its end.

        With a ``generator``, BPE dropout is drawn from it; a drawing that does not fit gives way to the whole merging.
        Raises ValueError naming the caption that has more than ``context`` tokens: nothing is cut off silently.
        """
        encodings = self.bpe.encode_batch(list(captions))
        ids = np.tile(self.vocab_size + np.arange(context), (len(encodings), 1))
        for caption, encoding, filled in zip(captions, encodings, ids, strict=True):
            row = encoding.ids
            if generator is not None:
                drawn = self._encode_with_dropout(caption, generator)
                row = drawn if len(drawn) <= context else row
            if len(row) > context:
                raise ValueError(
                    f"caption {caption!r} has {len(row)} tokens, tokenizer.context allows {context}: "
                    "shorten the caption or raise the setting"
                )
            filled[: len(row)] = row
        return ids

    def decode(self, ids: Int64[np.ndarray, "n context"]) -> list[str]:
        """The captions, lower-cased, runs of white space as one space; pads vanish, ``[unk]`` stays."""
        texts = [[int(token) for token in row if token < self.vocab_size] for row in ids]
        return self.bpe.decode_batch(texts, skip_special_tokens=False)

    def _encode_with_dropout(self, caption: str, generator: np.random.Generator) -> list[int]:
        pieces = self.bpe.pre_tokenizer.pre_tokenize_str(self.bpe.normalizer.normalize_str(caption))
        unknown = self.bpe.token_to_id(UNKNOWN)
        return [
            self._vocab.get(part, unknown)
            for piece, _ in pieces
            for part in _merge(list(piece), self._ranks, self.dropout, generator)
        ]

    @cached_property
    def _vocab(self) -> dict[str, int]:
        return self.bpe.get_vocab()

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        import json

        merges = json.loads(self.bpe.to_str())["model"]["merges"]
        return {tuple(pair): rank for rank, pair in enumerate(merges)}


def _merge(
    parts: list[str], ranks: dict[tuple[str, str], int], dropout: float, generator: np.random.Generator
) -> list[str]:
    """Join neighbours, the earliest learnt pair first; before every join each possible one is dropped by chance."""
    while True:
        possible = [
            (ranks[pair], place)
            for place, pair in enumerate(pairwise(parts))
            if pair in ranks and generator.random() >= dropout
        ]
        if not possible:
            return parts
        _, place = min(possible)
        parts = [*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :]]

"""What people give, made fit for the models: captions of any length, words of any kind, pictures of any size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, UInt8

from dalle.images import Picture, decode_picture

if TYPE_CHECKING:
    from dalle.tokenizer import Tokenizer


def num_tokens(words: "Tokenizer", caption: str) -> int:
    """How many positions of the context the caption needs."""
    return len(words.bpe.encode(caption).ids)


def encode_cut(words: "Tokenizer", captions: Sequence[str], context: int) -> Int64[np.ndarray, "n context"]:
    """As ``Tokenizer.encode``, but of a caption that is too long the end is left out."""
    longest = max([context, *(num_tokens(words, caption) for caption in captions)])
    return words.encode(list(captions), longest)[:, :context].copy()


def strange_words(words: "Tokenizer", caption: str) -> list[str]:
    """The words of a caption that are not whole in the tokenizer's vocabulary, each once, in their order.

    It reads them in pieces, or as unknown. Every frequent word of the training captions is whole; so may be the
    beginning of one.
    """
    return [word for word in dict.fromkeys(caption.split()) if not _is_whole(words, word)]


def _is_whole(words: "Tokenizer", word: str) -> bool:
    pieces = words.bpe.pre_tokenizer.pre_tokenize_str(words.bpe.normalizer.normalize_str(word))
    return all(words.bpe.token_to_id(piece) is not None for piece, _ in pieces)


def read_picture(path: str | Path) -> Picture:
    """The pixels of a PNG, JPEG or WebP file. Raises ValueError, naming it, for one that cannot be read."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: the picture cannot be read ({error.strerror})") from None
    return decode_picture(data, str(path))[0]


def square(picture: Picture, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """The largest centred square (the odd pixel left out at the end), resized by Pillow's antialiased bicubic kernel.

    A picture that has this size already stays as it is.
    """
    from PIL import Image

    height, width, _ = picture.shape
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    middle = picture[top : top + shorter, left : left + shorter]
    if shorter == side:
        return middle
    return np.array(Image.fromarray(middle).resize((side, side), Image.Resampling.BICUBIC))

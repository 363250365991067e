"""Contrastive models as judges: pictures and captions as vectors of unit length in one space."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from dalle.provenance import file_digest
from eval.networks.contrastive import load_open_clip, open_clip_weights
from eval.networks.network import full_precision
from eval.networks.weights import find_weights
from eval.pixels import Picture, crop, resize
from eval.protocols.protocol import ClipProtocol

if TYPE_CHECKING:
    from open_clip.model import CLIP

BATCH = 64


@dataclass(frozen=True)
class Judge:
    """A contrastive model with its preprocessing on both sides. The cosine of two vectors is their inner product."""

    model: "CLIP"
    preprocess: Callable[[Picture], Float32[Tensor, "3 side side"]]
    count_tokens: Callable[[str], int]  # as many as the caption would need
    tokenize: Callable[[list[str], int], Int64[Tensor, "n context"]]  # cut to the context
    prefix: str  # stands before every caption
    digest: str  # sixteen hexadecimal digits for weights, vocabulary, preprocessing and prefix

    @property
    def scale(self) -> float:
        """What cosines are multiplied by before the softmax over captions."""
        return self.model.logit_scale.exp().item()

    def embed_pictures(self, pictures: Sequence[Picture]) -> Float32[np.ndarray, "n dim"]:
        """Unit vectors. Pictures may differ in size."""
        return self._embed(pictures, lambda some: self.model.encode_image(self._stack(some), normalize=True))

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n dim"]:
        """Unit vectors. A caption that is longer than the context is cut: see :meth:`truncated`."""
        return self._embed(texts, lambda some: self.model.encode_text(self._tokens(some), normalize=True))

    def truncated(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Whether the model does not see the end of a caption."""
        return np.array([self.count_tokens(self.prefix + text) > self.model.context_length for text in texts], bool)

    def _embed(self, items: Sequence, encode: Callable[[list], Float32[Tensor, "n dim"]]) -> np.ndarray:
        parts = []
        for start in range(0, len(items), BATCH):
            with full_precision():
                parts.append(encode(list(items[start : start + BATCH])).cpu().numpy())
        return np.concatenate(parts)

    def _stack(self, pictures: list[Picture]) -> Float32[Tensor, "n 3 side side"]:
        return torch.stack([self.preprocess(picture) for picture in pictures]).to(self._device)

    def _tokens(self, texts: list[str]) -> Int64[Tensor, "n context"]:
        return self.tokenize([self.prefix + text for text in texts], self.model.context_length).to(self._device)

    @property
    def _device(self) -> torch.device:
        return self.model.logit_scale.device


def load_judge(
    protocol: ClipProtocol,
    weights: str | Path | None = None,
    own: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> Judge:
    """The judge of a protocol, on the GPU if there is one.

    For the model ``own``, ``own`` is the folder of the trained model and ``tokenizer`` its file. For others ``weights``
    is the file of the weights; without one open_clip's own download is used. Raises ValueError where one is missing or
    is not the protocol's.
    """
    if protocol.model != "own":
        judge = _open_clip_judge(protocol, weights)
    elif own is None or tokenizer is None:
        raise ValueError(f"{protocol.label} needs the folder of a trained model and its tokenizer; both must be given")
    else:
        judge = _own_judge(protocol, Path(own), tokenizer)
    judge.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return judge


def _own_judge(protocol: ClipProtocol, folder: Path, tokenizer: str | Path) -> Judge:
    """The experiment's reranker. It takes pictures of the size of its training as they are, and others resized."""
    from dalle.models.clip import load_clip
    from dalle.tokenizer import Tokenizer

    model, words = load_clip(folder), Tokenizer(tokenizer)
    side, _ = model.visual.image_size

    def count_tokens(text: str) -> int:
        return len(words.bpe.encode(text).ids)

    def tokenize(texts: list[str], context: int) -> Int64[Tensor, "n context"]:
        longest = max(context, *map(count_tokens, texts))  # encode refuses what does not fit; here it is cut
        return torch.from_numpy(words.encode(texts, longest)[:, :context].copy())

    def preprocess(picture: Picture) -> Float32[Tensor, "3 side side"]:
        return resize([crop(picture, "centre")], side, "pil-bicubic")[0] / 255

    files = [folder / "model.json", folder / "weights.safetensors", tokenizer]
    digest = _digest(protocol, *map(file_digest, files))
    return Judge(model, preprocess, count_tokens, tokenize, protocol.prefix, digest)


def _open_clip_judge(protocol: ClipProtocol, weights: str | Path | None) -> Judge:
    """A model of open_clip's, whose own preprocessing takes whole-level pictures, never floats."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
    from PIL import Image

    name, tag = protocol.model, protocol.pretrained
    path, found = find_weights(name, open_clip_weights(name, tag), weights, protocol.weights)
    model, words = load_open_clip(name, tag, path), open_clip.get_tokenizer(name)
    given = merge_preprocess_dict(
        PreprocessCfg(size=model.visual.image_size), open_clip.get_pretrained_cfg(name, tag) or {}
    )
    transform = image_transform_v2(PreprocessCfg(**given), is_train=False)

    def preprocess(picture: Picture) -> Float32[Tensor, "3 side side"]:
        return transform(Image.fromarray(picture))

    def count_tokens(text: str) -> int:
        return len(words.encode(text)) + 2  # start and end

    return Judge(model, preprocess, count_tokens, words, protocol.prefix, _digest(protocol, found, repr(transform)))


def _digest(protocol: ClipProtocol, *parts: str) -> str:
    return hashlib.sha256("\n".join((protocol.model, protocol.prefix, *parts)).encode()).hexdigest()[:16]

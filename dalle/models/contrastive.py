"""Contrastive models with their preprocessing: pictures and captions as vectors of unit length in one space.

Two kinds: the one that an experiment trains for itself, and open_clip's, from OpenAI's own files or from anybody's.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from dalle.device import best_device
from dalle.images import Picture, to_float
from dalle.models.clip import load_clip
from dalle.models.precision import full_precision
from dalle.models.weights import Source
from dalle.prompts import encode_cut, num_tokens, square
from dalle.provenance import file_digest

if TYPE_CHECKING:
    from open_clip.model import CLIP

BATCH = 64


@dataclass(frozen=True)
class Contrastive:
    """A model with its preprocessing on both sides. The cosine of two vectors is their inner product."""

    model: "CLIP"
    preprocess: Callable[[Picture], Float32[Tensor, "3 side side"]]
    count_tokens: Callable[[str], int]  # as many as the caption would need
    tokenize: Callable[[list[str], int], Int64[Tensor, "n context"]]  # cut to the context
    digest: str  # sixteen hexadecimal digits for weights, vocabulary and preprocessing

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
        return np.array([self.count_tokens(text) > self.model.context_length for text in texts], bool)

    def _embed(self, items: Sequence, encode: Callable[[list], Float32[Tensor, "n dim"]]) -> np.ndarray:
        parts = []
        for start in range(0, len(items), BATCH):
            with full_precision():
                parts.append(encode(list(items[start : start + BATCH])).cpu().numpy())
        return np.concatenate(parts)

    def _stack(self, pictures: list[Picture]) -> Float32[Tensor, "n 3 side side"]:
        return torch.stack([self.preprocess(picture) for picture in pictures]).to(self._device)

    def _tokens(self, texts: list[str]) -> Int64[Tensor, "n context"]:
        return self.tokenize(texts, self.model.context_length).to(self._device)

    @property
    def _device(self) -> torch.device:
        return self.model.logit_scale.device


def own_contrastive(folder: str | Path, tokenizer: str | Path) -> Contrastive:
    """The model that an experiment trained, in ``folder``, on the GPU if there is one.

    It takes pictures of the size of its training as they are, and others cut to a square and resized.
    """
    from dalle.tokenizer import Tokenizer

    folder = Path(folder)
    model, words = on_device(load_clip(folder)), Tokenizer(tokenizer)
    side, _ = model.visual.image_size

    def tokenize(texts: list[str], context: int) -> Int64[Tensor, "n context"]:
        return torch.from_numpy(encode_cut(words, texts, context))

    def preprocess(picture: Picture) -> Float32[Tensor, "3 side side"]:
        return to_float(square(picture, side)[None])[0]

    files = [folder / "model.json", folder / "weights.safetensors", tokenizer]
    digest = digest_of("own", *map(file_digest, files))
    return Contrastive(model, preprocess, partial(num_tokens, words), tokenize, digest)


def open_clip_contrastive(name: str, tag: str | None, path: Path, weights_digest: str) -> Contrastive:
    """open_clip's model ``name`` with the weights in ``path``, on the GPU if there is one.

    Its own preprocessing takes whole-level pictures, never floats: that of the published weights ``tag``; None stands
    for the model's first tag, mostly OpenAI's. Raises ValueError for a file that does not hold its weights.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
    from PIL import Image

    model, words = on_device(load_open_clip(name, path)), open_clip.get_tokenizer(name)
    tag = tag or next(iter(open_clip.list_pretrained_tags_by_model(name)), "")
    given = merge_preprocess_dict(
        PreprocessCfg(size=model.visual.image_size), open_clip.get_pretrained_cfg(name, tag) or {}
    )
    transform = image_transform_v2(PreprocessCfg(**given), is_train=False)

    def preprocess(picture: Picture) -> Float32[Tensor, "3 side side"]:
        return transform(Image.fromarray(picture))

    def count_tokens(text: str) -> int:
        return len(words.encode(text)) + 2  # start and end

    return Contrastive(model, preprocess, count_tokens, words, digest_of(name, weights_digest, repr(transform)))


def on_device(model: "CLIP") -> "CLIP":
    """The model on the GPU if there is one."""
    return model.to(best_device())


def digest_of(*parts: str) -> str:
    """Sixteen hexadecimal digits for everything that decides what a model says."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def open_clip_weights(name: str, tag: str) -> Source:
    """Where open_clip has the weights ``tag`` of the model ``name``."""
    from open_clip.pretrained import get_pretrained_url

    file = get_pretrained_url(name, tag).rsplit("/", 1)[-1]
    return Source(file or f"of open_clip's {name}, {tag}", partial(open_clip_file, name, tag))


def open_clip_file(name: str, tag: str) -> str:
    """The file in open_clip's cache, downloaded if need be: OpenAI's own, whose SHA-256 is known, before its copies."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

    path = download_pretrained(get_pretrained_cfg(name, tag), prefer_hf_hub=False)
    if not path:
        known = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(f"open_clip knows no weights {tag!r} of {name!r}; it knows {known}")
    return path


def load_open_clip(name: str, path: Path) -> "CLIP":
    """The model in float32 and evaluation mode, from OpenAI's TorchScript archive or a checkpoint.

    Raises ValueError for a file that holds something else.
    """
    import open_clip

    try:
        if is_torchscript(path):
            # create_model can read OpenAI's weights from copies only: the archives are no pickled tensors.
            loaded = open_clip.load_openai_model(str(path), precision="fp32", device="cpu")
        else:
            loaded = open_clip.create_model(name, pretrained=str(path))
    except Exception as error:  # as many kinds as there are ways for a file to hold something else
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"weights of {name}: {path} does not hold them ({reason})") from error
    return loaded.eval().requires_grad_(False)


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is a TorchScript archive: unlike a checkpoint it holds code and that code's constants."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())

"""Contrastive models as judges: pictures, and captions behind a protocol's prefix, as vectors in one space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from dalle.models.contrastive import (
    Contrastive,
    digest_of,
    open_clip_contrastive,
    open_clip_weights,
    own_contrastive,
)
from eval.networks.weights import find_weights
from eval.protocols.protocol import ClipProtocol


@dataclass(frozen=True)
class Judge(Contrastive):
    """A contrastive model that reads every caption behind a prefix. Its digest stands for the prefix, too."""

    prefix: str

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n dim"]:
        return super().embed_texts([self.prefix + text for text in texts])

    def truncated(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        return super().truncated([self.prefix + text for text in texts])


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
        name, tag = protocol.model, protocol.pretrained
        path, found = find_weights(name, open_clip_weights(name, tag), weights, protocol.weights)
        model = open_clip_contrastive(name, tag, path, found)
    elif own is None or tokenizer is None:
        raise ValueError(f"{protocol.label} needs the folder of a trained model and its tokenizer; both must be given")
    else:
        model = own_contrastive(own, tokenizer)
    digest = digest_of(protocol.model, protocol.prefix, model.digest)
    return Judge(**vars(model) | {"digest": digest, "prefix": protocol.prefix})

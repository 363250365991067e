"""The contrastive model: open_clip's architecture in a shape of our own, trained here from nothing."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dalle.config import Clip
from dalle.provenance import atomic

if TYPE_CHECKING:
    from open_clip.model import CLIP


@dataclass(frozen=True)
class Shape:
    """Everything that decides which tensors a contrastive model has."""

    width: int
    heads: int
    depth: int
    patch: int
    embed_dim: int
    image_size: int
    text_context: int
    text_vocab: int  # without the pads


def clip_shape(settings: Clip, image_size: int, text_context: int, text_vocab: int) -> Shape:
    """The model's shape: the settings, and what the pictures and the tokenizer impose."""
    own = settings.model_dump(include={"width", "heads", "depth", "patch", "embed_dim"})
    return Shape(**own, image_size=image_size, text_context=text_context, text_vocab=text_vocab)


def make_clip(shape: Shape) -> "CLIP":
    """A model with random weights. Its text tower sees the whole caption from its last position.

    open_clip's default pools at the highest token id, meant for an end-of-text token: with any other vocabulary that is
    some word in the middle of the caption, and under its causal mask the words after it do not count at all.
    """
    from math import log

    from open_clip.model import CLIP

    sizes = {"width": shape.width, "layers": shape.depth}
    picture = {"image_size": shape.image_size, "patch_size": shape.patch, "head_width": shape.width // shape.heads}
    text = {"context_length": shape.text_context, "vocab_size": shape.text_vocab + shape.text_context}
    pooling = {"heads": shape.heads, "no_causal_mask": True, "pool_type": "last"}
    return CLIP(shape.embed_dim, sizes | picture, sizes | text | pooling, init_logit_scale=log(START_SCALE))


START_SCALE = 20.0  # of the cosine similarities before the first update


def write_shape(path: str | Path, shape: Shape) -> None:
    """``model.json``: the shape, from which :func:`load_clip` builds the model."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"shape": asdict(shape)}, indent=2) + "\n")


def load_clip(folder: str | Path) -> "CLIP":
    """The trained model of ``folder`` (``model.json``, ``weights.safetensors``), in evaluation mode."""
    from safetensors.torch import load_file

    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    model = make_clip(Shape(**facts["shape"]))
    model.load_state_dict(load_file(Path(folder) / "weights.safetensors"))
    return model.eval().requires_grad_(False)

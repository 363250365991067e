"""open_clip's models, from OpenAI's own files or from anybody's."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eval.networks.weights import Source

if TYPE_CHECKING:
    from open_clip.model import CLIP


def open_clip_weights(model: str, tag: str) -> Source:
    """Where open_clip has the weights ``tag`` of ``model``."""
    from open_clip.pretrained import get_pretrained_url

    file = get_pretrained_url(model, tag).rsplit("/", 1)[-1]
    return Source(file or f"of open_clip's {model}, {tag}", partial(open_clip_file, model, tag))


def open_clip_file(model: str, tag: str) -> str:
    """The file in open_clip's cache, downloaded if need be: OpenAI's own, whose SHA-256 is known, before its copies."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    path = download_pretrained(get_pretrained_cfg(model, tag), prefer_hf_hub=False)
    if not path:
        raise ValueError(f"open_clip knows no weights {tag!r} of {model!r}")
    return path


def load_open_clip(model: str, tag: str, path: Path) -> "CLIP":
    """The model in float32 and evaluation mode. ``openai``: the file is OpenAI's TorchScript archive."""
    import open_clip

    if tag == "openai":
        # create_model can read OpenAI's weights from copies only: the archives are no pickled tensors.
        loaded = open_clip.load_openai_model(str(path), precision="fp32", device="cpu")
    else:
        loaded = open_clip.create_model(model, pretrained=str(path))
    return loaded.eval().requires_grad_(False)

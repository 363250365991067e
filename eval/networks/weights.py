"""Weights of the protocols' networks, and where PyTorch hub keeps them."""

from pathlib import Path

from dalle.models import weights
from dalle.models.weights import Source


def find_weights(network: str, source: Source, given: str | Path | None, digest: str | None) -> tuple[Path, str]:
    """:func:`dalle.models.weights.find_weights`, whose error says how a file is given to a judgement."""
    return weights.find_weights(
        network, source, given, digest, f"--weights {network}=PATH, in a config evaluation.weights"
    )


def hub_file(url: str) -> Path:
    """The file in PyTorch hub's cache, where torchvision and torch-fidelity look for it, downloaded if need be."""
    import torch

    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    return path

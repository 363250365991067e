"""An interrupted training goes on from its last checkpoint, but never from one of another training."""

import logging
from pathlib import Path
from typing import Any

from dalle.config.training import Optimisation
from dalle.provenance import atomic, code_digest

LOG = logging.getLogger(__name__)
CODE = ("dalle/training", "dalle/systems", "dalle/models")


def training_key(settings: Optimisation, seed: int, name: str, losses: list[float]) -> str:
    """What a checkpoint must agree on to be used: settings, seed, stage and code.

    ``losses`` are those of the untrained stage at its first and last step. Through them the stage's own settings and
    its data enter the key, without a digest of gigabytes. Four digits, so that another number of threads agrees.
    """
    probe = " ".join(f"{loss:.3e}" for loss in losses)
    return f"{name} seed={seed} losses={probe} code={code_digest(*CODE)} {settings.model_dump_json()}"


def write_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """``path`` holds ``state`` (tensors, numbers, strings in lists and dicts), whole or not at all."""
    import torch

    with atomic(path) as temporary:
        torch.save({"key": key, "state": state}, temporary)


def read_checkpoint(path: Path, key: str, device: Any = "cpu") -> dict[str, Any] | None:
    """The state written under ``key``; None, said aloud in the log, if ``path`` belongs to another training."""
    import torch

    if not path.exists():
        return None
    saved = torch.load(path, map_location=device, weights_only=True)
    if saved["key"] != key:
        LOG.warning("%s is of another training and is not used: starting anew (it had %s)", path, saved["key"])
        return None
    return saved["state"]

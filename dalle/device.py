"""Where models run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def best_device() -> "torch.device":
    """The first GPU; the CPU where there is none."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

"""Train the dVAE: from pictures to weights, and the untrained start beside them as a yardstick."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from dalle.config.models import DVAE
from dalle.images import read_archive
from dalle.models.codebook import start_from_patches
from dalle.models.dvae import DiscreteVAE
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.dvae import DVAEStage
from dalle.training.fit import fit


def train_dvae(archives: list[str | Path], folder: str | Path, settings: DVAE, seed: int) -> None:
    """Train on the pictures of all ``archives``; captions are not looked at.

    Writes weights.safetensors, start.safetensors (the weights before the first update), model.json and log.csv into
    ``folder``. Raises ValueError for pictures of different sizes or not divisible by ``settings.downsample``.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    pixels = _read_pixels(archives, settings)
    model = start_dvae(pixels, settings, seed)
    with atomic(folder / "start.safetensors") as temporary:
        save_file(model.state_dict(), temporary)
    stage = DVAEStage(model.to(memory_format=torch.channels_last), pixels, settings)
    weights = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "dvae")
    with atomic(folder / "model.json") as temporary:
        temporary.write_text(settings.model_dump_json(indent=2) + "\n")
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)


def start_dvae(pixels: UInt8[Tensor, "pictures 3 h w"], settings: DVAE, seed: int) -> DiscreteVAE:
    """The untrained dVAE: random, or with a k-means codebook between its halves."""
    torch.manual_seed(seed_for(seed, "dvae", "start"))
    model = DiscreteVAE(settings)
    if settings.start == "kmeans":
        start_from_patches(model, pixels, seed_for(seed, "dvae", "kmeans"))
    return model


def _read_pixels(archives: list[str | Path], settings: DVAE) -> UInt8[Tensor, "pictures 3 h w"]:
    parts = [torch.from_numpy(read_archive(path)[1]).permute(0, 3, 1, 2) for path in archives]
    sizes = {tuple(part.shape[2:]) for part in parts}
    if len(sizes) > 1 or any(side % settings.downsample for size in sizes for side in size):
        raise ValueError(f"dvae: pictures of sizes {sorted(sizes)}; one size, a multiple of {settings.downsample}, is")
    return torch.cat(parts).contiguous()

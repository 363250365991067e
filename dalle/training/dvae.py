"""Train the dVAE: from pictures to weights, and the untrained start beside them as a yardstick."""

import logging
import sys
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from dalle.config.models import DVAE
from dalle.images import read_archive
from dalle.models.codebook import start_from_patches
from dalle.models.dvae import AnyDVAE, load_dvae, make_dvae
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.dvae import DVAEStage, reconstruction
from dalle.training.fit import fit

LOG = logging.getLogger(__name__)
JUDGED = 256  # pictures whose reconstruction is judged at the end
COLLAPSED = 1 / 32  # of the codes in use, and fewer


def train_dvae(archives: list[str | Path], folder: str | Path, settings: DVAE, seed: int) -> None:
    """Train on the pictures of all ``archives``; captions are not looked at.

    Writes weights.safetensors, start.safetensors (the weights before the first update), model.json and log.csv into
    ``folder``, and says how well pictures come back. Where ``settings.weights`` names an imported dVAE, its weights and
    model.json are those, nothing is trained, and log.csv has one row, its objective on the first pictures. Raises
    ValueError for pictures of different sizes or not divisible by ``settings.downsample``, and for imported weights of
    another number of codes than ``settings.codes``.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    pixels = _read_pixels(archives, settings)
    start = start_dvae(pixels, settings, seed)
    with atomic(folder / "start.safetensors") as temporary:
        save_file(start.state_dict(), temporary)
    if settings.weights is None:
        _learn(start, pixels, settings, folder, seed)
    else:
        _take_over(Path(settings.weights), pixels, settings, folder)
    _judge(load_dvae(folder), pixels[:JUDGED])


def start_dvae(pixels: UInt8[Tensor, "pictures 3 h w"], settings: DVAE, seed: int) -> AnyDVAE:
    """The untrained dVAE: random, or with a k-means codebook between its halves.

    Raises ValueError for ``settings.weights`` of another number of codes.
    """
    torch.manual_seed(seed_for(seed, "dvae", "start"))
    model = make_dvae(settings)
    if model.num_codes != settings.codes:
        raise ValueError(f"dvae.codes: {settings.codes}; those of {settings.weights} are {model.num_codes}")
    if settings.start == "kmeans":
        start_from_patches(model, pixels, seed_for(seed, "dvae", "kmeans"))
    return model


def _learn(model: AnyDVAE, pixels: UInt8[Tensor, "pictures 3 h w"], settings: DVAE, folder: Path, seed: int) -> None:
    from safetensors.torch import save_file

    stage = DVAEStage(model.to(memory_format=torch.channels_last), pixels, settings)
    weights = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "dvae")
    with atomic(folder / "model.json") as temporary:
        temporary.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)


def _take_over(given: Path, pixels: UInt8[Tensor, "pictures 3 h w"], settings: DVAE, folder: Path) -> None:
    """The imported dVAE, and a log of one row."""
    import shutil

    stage = DVAEStage(load_dvae(given), pixels, settings)
    with torch.no_grad():
        first = torch.arange(min(stage.examples, settings.optimisation.batch_size))
        loss, facts = stage(first, settings.optimisation.steps, torch.Generator().manual_seed(0))
    row = {"step": 0, "loss": loss} | facts
    with atomic(folder / "log.csv") as temporary:
        lines = [",".join(row), ",".join(f"{float(value):.6g}" for value in row.values())]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("model.json", "weights.safetensors"):
        with atomic(folder / name) as temporary:
            shutil.copyfile(given / name, temporary)


def _judge(model: AnyDVAE, pixels: UInt8[Tensor, "pictures 3 h w"]) -> None:
    """Says how well the pictures come back, with a warning where few codes are in use."""
    facts = reconstruction(model, pixels)
    used = f"{round(facts['usage'] * model.num_codes)} of {model.num_codes} codes are in use"
    print(
        f"dvae: {used} (perplexity {facts['perplexity']:.1f}), pictures come back at {facts['psnr']:.1f} dB",
        file=sys.stderr,
    )
    if facts["usage"] <= COLLAPSED:
        LOG.warning(
            "dvae: the codebook has collapsed: %s in %d pictures; start from k-means, raise kl_weight or let the "
            "temperature fall more slowly",
            used,
            len(pixels),
        )


def _read_pixels(archives: list[str | Path], settings: DVAE) -> UInt8[Tensor, "pictures 3 h w"]:
    parts = [torch.from_numpy(read_archive(path)[1]).permute(0, 3, 1, 2) for path in archives]
    sizes = {tuple(part.shape[2:]) for part in parts}
    if len(sizes) > 1 or any(side % settings.downsample for size in sizes for side in size):
        raise ValueError(f"dvae: pictures of sizes {sorted(sizes)}; one size, a multiple of {settings.downsample}, is")
    return torch.cat(parts).contiguous()

"""Train the dVAE: from pictures to weights, and the untrained start beside them as a yardstick."""

import sys
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from dalle.config.models import DVAE
from dalle.models.codebook import start_from_patches
from dalle.models.dvae import AnyDVAE, load_dvae, make_dvae
from dalle.models.published_dvae import read_shape
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.dvae import DVAEStage, Pictures, reconstruction, warn_of_collapse
from dalle.training.fit import fit
from dalle.training.pixels import unpack_pictures

JUDGED = 256  # pictures whose reconstruction is judged at the end


def train_dvae(archives: list[str | Path], folder: str | Path, settings: DVAE, seed: int) -> None:
    """Train on the pictures of all ``archives``; captions are not looked at.

    Writes weights.safetensors, start.safetensors (the weights before the first update), model.json and log.csv into
    ``folder``, and says how well pictures come back. While it works, the unpacked pictures lie there, too (pixels.npy).
    Where ``settings.weights`` names an imported dVAE, its weights and model.json are those, nothing is trained, and
    log.csv has one row, its objective on the first pictures. Raises ValueError for pictures of different sizes or not
    divisible by ``settings.downsample``, and for imported weights of another number of codes than ``settings.codes``.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    _check_weights(settings)
    unpacked = folder / "pixels.npy"
    try:
        pixels = unpack_pictures(archives, unpacked, settings.downsample)
        start = start_dvae(pixels, settings, seed)
        with atomic(folder / "start.safetensors") as temporary:
            save_file(start.state_dict(), temporary)
        if settings.weights is None:
            _learn(start, pixels, settings, folder, seed)
        else:
            _take_over(Path(settings.weights), pixels, settings, folder)
        _judge(load_dvae(folder), pixels[:JUDGED])
    finally:
        unpacked.unlink(missing_ok=True)


def start_dvae(pixels: Pictures, settings: DVAE, seed: int) -> AnyDVAE:
    """The untrained dVAE: random, or with a k-means codebook between its halves."""
    torch.manual_seed(seed_for(seed, "dvae", "start"))
    model = make_dvae(settings)
    if settings.start == "kmeans":
        start_from_patches(model, pixels, seed_for(seed, "dvae", "kmeans"))
    return model


def _check_weights(settings: DVAE) -> None:
    codes = settings.codes if settings.weights is None else read_shape(settings.weights).codes
    if codes != settings.codes:
        raise ValueError(f"dvae.codes: {settings.codes}; allowed is {codes}, which {settings.weights} has")


def _learn(model: AnyDVAE, pixels: Pictures, settings: DVAE, folder: Path, seed: int) -> None:
    from safetensors.torch import save_file

    stage = DVAEStage(model.to(memory_format=torch.channels_last), pixels, settings)
    weights = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "dvae")
    with atomic(folder / "model.json") as temporary:
        temporary.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)


def _take_over(given: Path, pixels: Pictures, settings: DVAE, folder: Path) -> None:
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
    warn_of_collapse(model, facts["usage"], pixels)

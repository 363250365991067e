"""Train the prior: from captions and cached codes to weights that explain themselves."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32

from dalle.config.models import Prior
from dalle.images import read_rows
from dalle.mapped import Mapped
from dalle.models.transformer import Transformer, prior_shape, write_shape
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.systems.prior import PriorStage
from dalle.tokenizer import Tokenizer
from dalle.training.fit import fit

HELD_OUT = 256  # pairs kept from training, a twentieth at most, for the validation loss
VERSIONS = 8  # encodings of each caption where the tokenizer has BPE dropout


def train_prior(
    archives: list[str | Path],
    codes: list[str | Path],
    tokenizer: str | Path,
    folder: str | Path,
    settings: Prior,
    context: int,
    codes_k: int,
    seed: int,
) -> None:
    """Train on the captions of the ``archives`` and the ``codes`` of their pictures (file by file, row by row).

    Writes weights.safetensors, model.json and log.csv into ``folder``. model.json has the shape of the model and its
    validation losses, nats a token, on the last pairs, which training does not see. Raises ValueError if captions and
    codes differ in number, a code is not below ``codes_k``, or a caption is longer than the model reads (``context``).
    """
    from safetensors.torch import save_file

    folder, words = Path(folder), Tokenizer(tokenizer)
    captions = [caption for files in zip(archives, codes, strict=True) for caption in _captions(*files, codes_k)]
    grids = Mapped(codes)
    torch.manual_seed(seed_for(seed, "prior", "start"))
    shape = prior_shape(settings, context, words.vocab_size, grids.shape[-1], codes_k)
    model = Transformer(shape, settings.attention)
    seen = len(grids) - min(HELD_OUT, len(grids) // 20)
    text = torch.from_numpy(_encode(words, captions[:seen], shape.text_context, seed))
    held_out = torch.from_numpy(words.encode(captions[seen:], shape.text_context).astype(np.int32))
    kept = held_out, grids.part(seen, len(grids))
    stage = PriorStage(model, text, grids.part(0, seen), settings.text_loss, kept)

    weights = fit(stage, settings.optimisation, seed, folder / "checkpoint.pt", folder / "log.csv", "prior")
    model.cpu().load_state_dict(weights)
    write_shape(folder / "model.json", model.shape, validation=_validation(stage))
    with atomic(folder / "weights.safetensors") as temporary:
        save_file(weights, temporary)


def _captions(archive: str | Path, codes: str | Path, codes_k: int) -> list[str]:
    """Those of an archive, to which ``codes`` must belong."""
    captions, grids = read_rows(archive)["caption"].tolist(), np.load(codes, mmap_mode="r")
    highest = int(grids.max(initial=0))
    if len(captions) != len(grids) or highest >= codes_k:
        raise ValueError(
            f"{codes}: {len(grids)} grids with codes up to {highest} for the {len(captions)} captions of {archive} "
            f"and dvae.codes = {codes_k}; allowed are as many grids as captions, and codes below dvae.codes"
        )
    return captions


def _encode(words: Tokenizer, captions: list[str], context: int, seed: int) -> Int32[np.ndarray, "versions pairs text"]:
    if words.dropout == 0:
        return words.encode(captions, context)[None].astype(np.int32)
    generator = np.random.default_rng(seed_for(seed, "prior", "bpe-dropout"))
    versions = (words.encode(captions, context, generator) for _ in range(VERSIONS))
    return np.stack([version.astype(np.int32) for version in versions])


@torch.no_grad()
def _validation(stage: PriorStage) -> dict[str, float | int]:
    if stage.validated == 0:
        return {"pairs": 0}
    said = stage.cpu().eval().validate()
    return {"pairs": stage.validated} | {what: float(said[what]) for what in ("text_nats", "image_nats")}

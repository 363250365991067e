"""What the reranker learns from and is measured on where the data are photographs: a training archive, no more."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from dalle.images import read_archive, to_float
from dalle.seeding import seed_for
from dalle.systems.clip import spoil
from dalle.systems.clip_photographs import PhotographStage
from dalle.tokenizer import Tokenizer

if TYPE_CHECKING:
    from open_clip.model import CLIP

HELD_OUT = 256  # photographs kept from training, a tenth at most, for the report


class Album:
    """The photographs of the archive ``train``, in which candidate 0 begins each and its other views follow it.

    The last photographs are held out. Raises ValueError for a caption longer than ``context``.
    """

    def __init__(self, train: str | Path, words: Tokenizer, context: int, seed: int) -> None:
        rows, pixels = read_archive(train)
        self.seed, self.image_size = seed, pixels.shape[1]
        self._pixels, self._tokens = pixels, words.encode(rows["caption"].tolist(), context)
        self._photographs = np.cumsum(rows["candidate"].to_numpy() == 0) - 1
        num = self._photographs[-1] + 1
        self._seen = self._photographs < num - min(HELD_OUT, num // 10)

    def stage(self, clip: "CLIP") -> PhotographStage:
        """The stage of all photographs that are not held out."""
        pixels, tokens, photographs = (each[self._seen] for each in (self._pixels, self._tokens, self._photographs))
        return PhotographStage(
            clip, _channels_first(pixels).contiguous(), torch.from_numpy(tokens), torch.from_numpy(photographs)
        )

    @torch.inference_mode()
    def report(self, model: "CLIP") -> dict[str, dict[str, float | int]]:
        """Name → accuracy and n, on the held-out photographs cut in the middle, each with one caption.

        - ``retrieval``: a caption finds its picture among all; chance is 1/n.
        - ``picture spoiled``: a caption prefers its picture to one with squares of another; chance is 0.5.

        Empty if fewer than two are held out.
        """
        chosen = np.flatnonzero(~self._seen & np.append(True, np.diff(self._photographs) > 0))
        if len(chosen) < 2:
            return {}
        own = to_float(self._pixels[chosen])
        chance = torch.Generator().manual_seed(seed_for(self.seed, "clip", "spoiled"))
        pictures = model.encode_image(own, normalize=True)
        texts = model.encode_text(torch.from_numpy(self._tokens[chosen]), normalize=True)
        spoiled = model.encode_image(spoil(own, own.roll(1, 0), chance), normalize=True)
        right = {
            "retrieval": (texts @ pictures.T).argmax(-1) == torch.arange(len(chosen)),
            "picture spoiled": (texts * pictures).sum(-1) > (texts * spoiled).sum(-1),
        }
        return {name: {"accuracy": float(each.float().mean()), "n": len(each)} for name, each in right.items()}


def _channels_first(pixels: UInt8[np.ndarray, "n h w 3"]) -> UInt8[Tensor, "n 3 h w"]:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)

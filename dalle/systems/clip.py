"""The reranker's stage: pairs, their altered twins and spoiled pictures, and the contrastive loss over all of them.

Captions and pictures learn from each other and, while they train, both from a third view: the facts of the scene.
Without it neither side gains by caring for "above" before the other does, and that comes late: after 1,000 updates 0.80
of the altered relations were told apart in a trial without facts, 0.99 with them. Facts bind attributes to things and
things to roles by themselves, so either side can learn it from them. Reranking needs no facts.
"""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from open_clip.model import CLIP
from torch import Tensor, nn

from dalle.systems.stage import Stage

MAX_SCALE = 100.0  # of the cosine similarities, as in CLIP
CELL = 8  # pixels: spoiled pictures are mixed in squares of this size, as a wrong code would
SPOILED = 0.25  # so many spoiled pictures to a pair
FACTS_SPREAD = 0.01  # of the first weights of the facts; small, so that they are soon forgotten
TWIN_WEIGHT = 2.0  # of the choice between own and twin, beside the choice among all


@dataclass(frozen=True)
class Pairs:
    """Pictures, captions as tokens, facts of the scenes, and the number of what they say: equal is no negative."""

    pixels: UInt8[Tensor, "pairs 3 h w"]
    tokens: Int64[Tensor, "pairs context"]
    facts: Bool[Tensor, "pairs facts"]
    contents: Int64[Tensor, " pairs"]


class ClipStage(Stage):
    """``pairs`` and, row by row, their ``twins``: pairs that differ from them in one respect.

    A batch of b indices is 2b pairs, each the hard negative of its twin, and some spoiled pictures that no caption
    describes: mixed in squares with the twin or with another picture, as samples with wrong codes look. All pictures
    are softened by chance, because a dVAE's are soft and that should not count.
    """

    def __init__(self, clip: CLIP, pairs: Pairs, twins: Pairs) -> None:
        super().__init__()
        facts = nn.Linear(pairs.facts.shape[1], clip.visual.output_dim)
        nn.init.normal_(facts.weight, std=FACTS_SPREAD)
        self.model = nn.ModuleDict({"clip": clip, "facts": facts})
        self.examples = len(pairs.pixels)
        for kind, given in (("own", pairs), ("twin", twins)):
            for name, value in vars(given).items():
                self.register_buffer(f"{kind}_{name}", value, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The losses between captions and pictures, facts and pictures, facts and captions, added up."""
        clip = self.model["clip"]
        own, twin = self.own_pixels[indices].float() / 255, self.twin_pixels[indices].float() / 255
        num = round(SPOILED * len(own))
        pictures = torch.cat([own, twin, spoil(own[:num], twin[:num], generator)])
        images = clip.encode_image(soften(pictures, generator), normalize=True)
        texts = clip.encode_text(self._both("tokens", indices), normalize=True)
        facts = F.normalize(self.model["facts"](self._both("facts", indices).float()), dim=-1)

        contents, scale = self._both("contents", indices), clip.logit_scale.clamp(max=log(MAX_SCALE)).exp()
        same = contents[:, None] == contents
        by_text = contrast_with_twins(scale * texts @ images.T, same)
        by_facts = contrast_with_twins(scale * facts @ images.T, same)
        words = contrast_with_twins(scale * facts @ texts.T, same)
        scalars = {"text_picture": by_text, "facts_picture": by_facts, "facts_text": words, "scale": scale}
        return by_text + by_facts + words, {name: value.detach() for name, value in scalars.items()}

    def _both(self, name: str, indices: Int64[Tensor, " batch"]) -> Tensor:
        """The rows of the pairs, then those of their twins."""
        return torch.cat([getattr(self, f"own_{name}")[indices], getattr(self, f"twin_{name}")[indices]])


def contrast_with_twins(
    logits: Float[Tensor, "pairs pictures"], same: Bool[Tensor, "pairs pairs"]
) -> Float[Tensor, ""]:
    """The choice among all, plus TWIN_WEIGHT times the choice between own and twin."""
    return contrast(logits, same) + TWIN_WEIGHT * tell_apart(logits[:, : len(logits)])


def contrast(logits: Float[Tensor, "texts pictures"], same: Bool[Tensor, "texts texts"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of finding a caption's picture and a picture's caption, in nats.

    The first pictures belong to the captions, row by row; the rest belongs to none and is only there to be refused.
    Where several pairs have the ``same`` content, each is as right as the other.
    """
    target = same.float() / same.sum(1, keepdim=True)
    num = len(logits)
    find_picture = -(target * logits.log_softmax(1)[:, :num]).sum(1).mean()
    find_caption = -(target * logits[:, :num].T.log_softmax(1)).sum(1).mean()
    return (find_picture + find_caption) / 2


def tell_apart(logits: Float[Tensor, "pairs pairs"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the choice between a pair and its twin (half the rows further), both ways, in nats."""
    half = len(logits) // 2
    own, twin_text, twin_picture = (part.diagonal() for part in (logits, logits.roll(half, 0), logits.roll(half, 1)))
    return (F.softplus(twin_text - own) + F.softplus(twin_picture - own)).mean() / 2


def spoil(
    own: Float[Tensor, "n 3 h w"], twin: Float[Tensor, "n 3 h w"], generator: torch.Generator
) -> Float[Tensor, "n 3 h w"]:
    """Each picture with squares of its twin (even rows: half of them) or of the row before (odd: a tenth to 60 %)."""
    num, _, height, width = own.shape
    draw = {"generator": generator, "device": own.device}
    even = (torch.arange(num, device=own.device) % 2 == 0)[:, None, None, None]
    donor = torch.where(even, twin, own.roll(1, 0))
    share = torch.where(even, 0.5, 0.1 + 0.5 * torch.rand(num, 1, 1, 1, **draw))
    cells = torch.rand(num, 1, -(-height // CELL), -(-width // CELL), **draw) < share
    mask = F.interpolate(cells.float(), scale_factor=CELL)[:, :, :height, :width]
    return own.lerp(donor, mask)


def soften(images: Float[Tensor, "n 3 h w"], generator: torch.Generator) -> Float[Tensor, "n 3 h w"]:
    """Each picture between itself and its mean over 3 × 3 pixels, by chance."""
    amount = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return images.lerp(blurred, amount).contiguous(memory_format=torch.channels_last)

"""The reranker's stage: pairs, their altered twins and spoiled pictures, and the contrastive loss over all of them."""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from open_clip.model import CLIP
from torch import Tensor

from dalle.systems.stage import Stage

MAX_SCALE = 100.0  # of the cosine similarities, as in CLIP
CELL = 8  # pixels: spoiled pictures are mixed in squares of this size, as a wrong code would
SPOILED = 0.25  # so many spoiled pictures to a pair
TWIN_WEIGHT = 2.0  # of the choice between own and twin, beside the choice among all


@dataclass(frozen=True)
class Pairs:
    """Pictures, their captions as tokens, and the number of what they say: equal numbers are no negatives."""

    pixels: UInt8[Tensor, "pairs 3 h w"]
    tokens: Int64[Tensor, "pairs context"]
    contents: Int64[Tensor, " pairs"]


class ClipStage(Stage):
    """``pairs`` and, row by row, their ``twins``: pairs that differ from them in one respect.

    A batch of b indices is 2b pairs, each the hard negative of its twin, and some spoiled pictures that no caption
    describes: mixed in squares with the twin or with another picture, as samples with wrong codes look. All pictures
    are softened by chance, because a dVAE's are soft and that should not count.
    """

    def __init__(self, model: CLIP, pairs: Pairs, twins: Pairs) -> None:
        super().__init__()
        self.model = model
        self.examples = len(pairs.pixels)
        for kind, given in (("own", pairs), ("twin", twins)):
            for name, value in vars(given).items():
                self.register_buffer(f"{kind}_{name}", value, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The contrastive loss over the batch plus TWIN_WEIGHT times the loss of telling a pair from its twin."""
        own, twin = self.own_pixels[indices].float() / 255, self.twin_pixels[indices].float() / 255
        contents = torch.cat([self.own_contents[indices], self.twin_contents[indices]])
        texts = self.model.encode_text(torch.cat([self.own_tokens[indices], self.twin_tokens[indices]]), normalize=True)
        num = round(SPOILED * len(own))
        pictures = torch.cat([own, twin, spoil(own[:num], twin[:num], generator)])
        images = self.model.encode_image(soften(pictures, generator), normalize=True)

        logits = self.model.logit_scale.clamp(max=log(MAX_SCALE)).exp() * texts @ images.T
        among_all = contrast(logits, contents[:, None] == contents)
        from_twin = tell_apart(logits[:, : len(texts)])
        scalars = {"among_all": among_all, "from_twin": from_twin, "scale": self.model.logit_scale.exp()}
        return among_all + TWIN_WEIGHT * from_twin, {name: value.detach() for name, value in scalars.items()}


def contrast(
    logits: Float[Tensor, "texts pictures"], same: Bool[Tensor, "texts texts"]
) -> Float[Tensor, ""]:
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

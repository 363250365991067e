"""The reranker's stage for photographs, whose truth nobody knows: captions and pictures learn from each other alone."""

from math import log

import torch
from jaxtyping import Float, Int64, UInt8
from open_clip.model import CLIP
from torch import Tensor, nn

from dalle.systems.clip import MAX_SCALE, SPOILED, contrast, soften, spoil
from dalle.systems.stage import Stage


class PhotographStage(Stage):
    """Photographs, their captions as tokens, and which photograph each row shows: another view of it is no negative.

    As for scenes all pictures are softened by chance, and some more are there only to be refused: mixed in squares with
    another photograph, as samples with wrong codes look.
    """

    def __init__(
        self,
        clip: CLIP,
        pixels: UInt8[Tensor, "pairs 3 h w"],
        captions: Int64[Tensor, "pairs context"],
        photographs: Int64[Tensor, " pairs"],
    ) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"clip": clip})
        self.examples = len(pixels)
        for name, value in {"pixels": pixels, "captions": captions, "photographs": photographs}.items():
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The mean cross-entropy of finding a caption's picture and a picture's caption in the batch, nats."""
        clip, own = self.model["clip"], self.pixels[indices].float() / 255
        num = round(SPOILED * len(own))
        pictures = torch.cat([own, spoil(own[:num], own.roll(1, 0)[:num], generator)])
        images = clip.encode_image(soften(pictures, generator), normalize=True)
        texts = clip.encode_text(self.captions[indices], normalize=True)
        scale = clip.logit_scale.clamp(max=log(MAX_SCALE)).exp()
        shown = self.photographs[indices]
        loss = contrast(scale * texts @ images.T, shown[:, None] == shown)
        return loss, {"text_picture": loss.detach(), "scale": scale.detach()}

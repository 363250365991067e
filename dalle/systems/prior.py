"""The second stage: the transformer, the pairs it learns from, and the paper's weighted loss (§2.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from dalle.models.transformer import Transformer
from dalle.systems.stage import Stage


class PriorStage(Stage):
    """Caption and codes of each pair, and the loss of predicting every token from those before it.

    ``text`` may hold several versions of each caption (BPE dropout); every update draws one.
    """

    def __init__(
        self,
        model: Transformer,
        text: Int64[Tensor, "versions pairs text"],
        codes: Shaped[Tensor, "pairs cells"],
        text_loss: float,
    ):
        super().__init__()
        self.model, self.text_loss = model, text_loss
        self.examples = len(codes)
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("codes", codes, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """text_loss · text cross-entropy + (1 − text_loss) · image cross-entropy; both in nats a token for the log."""
        version = torch.randint(len(self.text), (), generator=generator, device=indices.device)
        text_nats, image_nats = token_losses(self.model, self.text[version, indices], self.codes[indices].long())
        loss = self.text_loss * text_nats + (1 - self.text_loss) * image_nats
        return loss, {"text_nats": text_nats.detach(), "image_nats": image_nats.detach()}


def token_losses(
    model: Transformer, text: Int64[Tensor, "batch text"], codes: Int64[Tensor, "batch cells"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean cross-entropy of a text token (an empty position counts as one) and of a code, nats."""
    text_logits, image_logits = model(text, codes)
    text_classes = text.clamp(max=model.shape.text_vocab)  # whichever pad it is: this position is empty
    return (
        F.cross_entropy(text_logits.flatten(0, 1), text_classes.flatten()),
        F.cross_entropy(image_logits.flatten(0, 1), codes.flatten()),
    )

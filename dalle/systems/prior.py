"""The second stage: the transformer, the pairs it learns from, and the paper's weighted loss (§2.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from dalle.models.transformer import Transformer
from dalle.systems.stage import Stage

AT_ONCE = 32  # pairs of a validation


class PriorStage(Stage):
    """Caption and codes of each pair, and the loss of predicting every token from those before it.

    ``text`` may hold several versions of each caption (BPE dropout); every update draws one. ``held_out`` are text and
    codes of pairs that are not learnt from.
    """

    def __init__(
        self,
        model: Transformer,
        text: Int64[Tensor, "versions pairs text"],
        codes: Shaped[Tensor, "pairs cells"],
        text_loss: float,
        held_out: tuple[Int64[Tensor, "others text"], Shaped[Tensor, "others cells"]] | None = None,
    ):
        super().__init__()
        self.model, self.text_loss = model, text_loss
        self.examples, self.tokens = len(codes), text.shape[-1] + codes.shape[-1]
        kept = (text[0, :0], codes[:0]) if held_out is None else held_out
        self.validated = len(kept[1])
        for name, value in (("text", text), ("codes", codes), ("held_out_text", kept[0]), ("held_out_codes", kept[1])):
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """text_loss · text cross-entropy + (1 − text_loss) · image cross-entropy; both in nats a token for the log."""
        version = torch.randint(len(self.text), (), generator=generator, device=indices.device)
        text_nats, image_nats = token_losses(self.model, self.text[version, indices], self.codes[indices].long())
        return self._weighted(text_nats, image_nats), {
            "text_nats": text_nats.detach(),
            "image_nats": image_nats.detach(),
        }

    def validate(self) -> dict[str, Float[Tensor, ""]]:
        """The loss of the pairs that are held out, and its two parts, nats a token."""
        sums = torch.zeros(2, device=self.held_out_codes.device)
        for text, codes in zip(self.held_out_text.split(AT_ONCE), self.held_out_codes.split(AT_ONCE), strict=True):
            sums += len(codes) * torch.stack(token_losses(self.model, text, codes.long()))
        text_nats, image_nats = sums / self.validated
        return {"loss": self._weighted(text_nats, image_nats), "text_nats": text_nats, "image_nats": image_nats}

    def _weighted(self, text_nats: Float[Tensor, ""], image_nats: Float[Tensor, ""]) -> Float[Tensor, ""]:
        return self.text_loss * text_nats + (1 - self.text_loss) * image_nats


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

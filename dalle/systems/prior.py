"""The second stage: the transformer, the pairs it learns from, and the paper's weighted loss (§2.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64, Shaped
from torch import Tensor

from dalle.mapped import Mapped
from dalle.models.transformer import Transformer
from dalle.systems.stage import Stage

AT_ONCE = 32  # pairs of a validation
Codes = Shaped[Tensor, "pairs ..."] | Mapped  # a grid or a row of cells for each pair


class PriorStage(Stage):
    """Caption and codes of each pair, and the loss of predicting every token from those before it.

    ``text`` may hold several versions of each caption (BPE dropout); every update draws one. ``held_out`` are text and
    codes of pairs that are not learnt from. All of them stay where they are, the codes as a rule on the disk; what an
    update learns from goes to the model's device.
    """

    def __init__(
        self,
        model: Transformer,
        text: Int32[Tensor, "versions pairs text"],
        codes: Codes,
        text_loss: float,
        held_out: tuple[Int32[Tensor, "others text"], Codes] | None = None,
    ):
        super().__init__()
        self.model, self.text, self.codes, self.text_loss = model, text, codes, text_loss
        self.examples, self.tokens = len(codes), text.shape[-1] + model.shape.cells
        self.held_out_text, self.held_out_codes = (text[0, :0], codes[:0]) if held_out is None else held_out
        self.validated = len(self.held_out_codes)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """text_loss · text cross-entropy + (1 − text_loss) · image cross-entropy; both in nats a token for the log."""
        version = torch.randint(len(self.text), (), generator=generator, device=indices.device)
        rows = indices.cpu()
        text_nats, image_nats = self._nats(self.text[int(version), rows], self.codes[rows], indices.device)
        return self._weighted(text_nats, image_nats), {
            "text_nats": text_nats.detach(),
            "image_nats": image_nats.detach(),
        }

    def validate(self) -> dict[str, Float[Tensor, ""]]:
        """The loss of the pairs that are held out, and its two parts, nats a token."""
        device = next(self.model.parameters()).device
        sums = torch.zeros(2, device=device)
        for rows in torch.arange(self.validated).split(AT_ONCE):
            sums += len(rows) * torch.stack(self._nats(self.held_out_text[rows], self.held_out_codes[rows], device))
        text_nats, image_nats = sums / self.validated
        return {"loss": self._weighted(text_nats, image_nats), "text_nats": text_nats, "image_nats": image_nats}

    def _nats(
        self, text: Int32[Tensor, "batch text"], codes: Shaped[Tensor, "batch ..."], device: torch.device
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        return token_losses(self.model, text.long().to(device), codes.long().flatten(1).to(device))

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

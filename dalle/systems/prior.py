"""The second stage: the transformer, the pairs it learns from, and the paper's weighted loss (§2.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from dalle.models.transformer import Transformer
from dalle.systems.stage import Stage

VALIDATED = 32  # pairs that are validated together


class PriorStage(Stage):
    """Caption and codes of each pair, and the loss of predicting every token from those before it.

    ``text`` may hold several versions of each caption (BPE dropout); every update draws one. ``held_out`` are captions
    and codes that are not learnt from.
    """

    def __init__(
        self,
        model: Transformer,
        text: Int64[Tensor, "versions pairs text"],
        codes: Shaped[Tensor, "pairs cells"],
        text_loss: float,
        held_out: tuple[Int64[Tensor, "held text"], Shaped[Tensor, "held cells"]] | None = None,
    ):
        super().__init__()
        self.model, self.text_loss = model, text_loss
        self.examples, self.tokens = len(codes), model.shape.text_context + model.shape.cells
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("codes", codes, persistent=False)
        for name, value in zip(("held_out_text", "held_out_codes"), held_out or (text[0, :0], codes[:0]), strict=True):
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, indices: Int64[Tensor, " batch"], step: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """text_loss · text cross-entropy + (1 − text_loss) · image cross-entropy; both in nats a token for the log."""
        version = torch.randint(len(self.text), (), generator=generator, device=indices.device)
        text_nats, image_nats = token_losses(self.model, self.text[version, indices], self.codes[indices].long())
        loss = self.text_loss * text_nats + (1 - self.text_loss) * image_nats
        return loss, {"text_nats": text_nats.detach(), "image_nats": image_nats.detach()}

    def validate(self) -> dict[str, float]:
        """The loss of the pairs that are held out, and its two parts; nothing where none is."""
        if len(self.held_out_codes) == 0:
            return {}
        text_nats, image_nats = mean_losses(self.model, self.held_out_text, self.held_out_codes)
        loss = self.text_loss * text_nats + (1 - self.text_loss) * image_nats
        return {"loss": loss, "text_nats": text_nats, "image_nats": image_nats}


@torch.no_grad()
def mean_losses(
    model: Transformer, text: Int64[Tensor, "pairs text"], codes: Shaped[Tensor, "pairs cells"]
) -> tuple[float, float]:
    """:func:`token_losses` of any number of pairs, some at a time."""
    batches = list(zip(text.split(VALIDATED), codes.split(VALIDATED), strict=True))
    losses = torch.tensor([token_losses(model, words, grids.long()) for words, grids in batches], dtype=torch.float64)
    weights = torch.tensor([len(words) for words, _ in batches], dtype=torch.float64) / len(text)
    text_nats, image_nats = (weights @ losses).tolist()
    return text_nats, image_nats


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

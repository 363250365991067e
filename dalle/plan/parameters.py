"""How many parameters there are, and where."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class PriorParameters:
    """The prior's parameters by part. ``matrices`` is what the paper calls the effective parameters: 12·d²·layers."""

    matrices: int  # queries, keys, values, output 4d²; MLP 8d²; of every layer
    gains: int  # and biases of every layer: 13d
    embeddings: int  # of text, pads, codes and positions, and the two starts
    heads: int  # of text and image, and the last norm

    @property
    def blocks(self) -> int:
        return self.matrices + self.gains

    @property
    def rest(self) -> int:
        """What the paper keeps in float32 and does not compress: all but the matrices."""
        return self.gains + self.embeddings + self.heads

    @property
    def total(self) -> int:
        return self.matrices + self.rest


def prior_parameters(model: nn.Module) -> PriorParameters:
    """The parts of a :class:`dalle.models.transformer.Transformer`, counted."""
    counts = {"matrices": 0, "gains": 0, "embeddings": 0, "heads": 0}
    for name, parameter in model.named_parameters():
        if name.startswith("blocks."):
            part = "matrices" if parameter.ndim == 2 else "gains"
        else:
            part = "heads" if name.startswith(("norm", "text_head", "image_head")) else "embeddings"
        counts[part] += parameter.numel()
    return PriorParameters(**counts)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())

"""How candidates are drawn, and what chooses among them."""

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from dalle.config.settings import Positive, PowerOfTwo, Settings


def _doubling(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or values[0] != 1 or any(b != 2 * a for a, b in pairwise(values)):
        raise ValueError(
            f"{list(values)} is not a doubling list that begins with 1; allowed are [1], [1, 2], [1, 2, 4], …"
        )
    return values


class Sampling(Settings):
    """How candidates are drawn (paper §2.6: temperature 1, nothing truncated, best of 512)."""

    n_candidates: Annotated[tuple[int, ...], AfterValidator(_doubling)] = Field(
        (1, 2, 4, 8, 16, 32), description="the N of best-of-N; the last one is how many are drawn a caption"
    )
    temperature: float = Field(1.0, gt=0, description="logits are divided by it (paper: 1)")
    top_k: int | None = Field(None, gt=0, description="only the k likeliest codes can be drawn; null keeps all")
    top_p: float | None = Field(
        None, gt=0, le=1, description="only the likeliest codes of this joint probability; null keeps all"
    )
    guidance: float = Field(
        1.0, ge=0, description="classifier-free guidance, for priors that know empty captions; 1 is none (paper: none)"
    )
    rows: Positive = Field(256, description="candidates computed together; memory depends on it, candidates do not")
    shards: Positive = Field(2, description="jobs a suite is cut into; candidates do not depend on it")
    block: PowerOfTwo = Field(
        32,
        description="candidates a caption that one job draws; a larger N adds blocks and keeps those drawn; "
        "a block of fewer than 8 takes as long as one of 8",
    )

    @model_validator(mode="after")
    def _whole_blocks(self) -> "Sampling":
        if self.n_candidates[-1] % self.block:
            raise ValueError(
                f"block: {self.block} does not divide the largest of n_candidates, {self.n_candidates[-1]}"
            )
        return self

    @property
    def blocks(self) -> int:
        """Blocks of candidates that make up the largest N."""
        return self.n_candidates[-1] // self.block

    @property
    def is_plain(self) -> bool:
        """Whether codes are drawn from the model's distribution as it is."""
        return self.temperature == self.guidance == 1 and self.top_k is None and self.top_p is None


class Rerank(Settings):
    """Which contrastive model chooses among the candidates (paper §2.6: CLIP)."""

    model: str = Field("own", description="own: the one trained here; else a name of open_clip's, e.g. ViT-L-14")
    pretrained: str | None = Field(
        None, description="of an open_clip model: a tag, e.g. openai, or the path of a checkpoint: it has a / or a ."
    )

    @model_validator(mode="after")
    def _own_has_no_weights_to_name(self) -> "Rerank":
        if (self.model == "own") != (self.pretrained is None):
            raise ValueError(
                f"pretrained: {self.pretrained!r} does not go with model {self.model!r}; own has none, others need it"
            )
        return self

    @property
    def checkpoint(self) -> str | None:
        """The path of the weights, if ``pretrained`` is one."""
        return self.pretrained if self.pretrained and set(self.pretrained) & set("/.") else None

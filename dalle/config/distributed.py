"""How several processes train together."""

from typing import Literal

from pydantic import Field, model_validator

from dalle.config.settings import Positive, Settings


class PowerSGD(Settings):
    """Gradients of the residual branches' matrices go between replicas as products of low rank (paper §2.5, §E).

    Error feedback is no setting: without it the method does not converge. Nor is the paper's format of 1-6-9 bits on
    the wire: with 16-bit precision it is bfloat16, else float32.
    """

    rank: Positive | None = Field(
        None, description="of all shards together; null: 7/31 of the width, in steps of 128 (paper: 512, 640, 896)"
    )
    fixed_q: bool = Field(
        True, description="Q is one random matrix for the whole run (paper); false: the last update's, a warm start"
    )
    jitter: float = Field(
        1e-6, ge=0, description="times the rectangular identity, added to P before it is orthogonalised (paper: 1e-6)"
    )
    uncompressed: int = Field(
        1000, ge=0, description="first updates, whose gradients are sent whole (paper: silent; torch's default is 1000)"
    )


class Distributed(Settings):
    """How several processes, one a GPU, share the work. A process alone has nothing to share."""

    processes: Positive | None = Field(
        None, description="on each machine; null: one a visible GPU, and one where there is none"
    )
    kind: Literal["ddp", "fsdp"] = Field("ddp", description="ddp: each has all weights; fsdp: sharded (paper)")
    shards: Positive | None = Field(
        None, description="of fsdp: processes among which the weights are cut; null: all (paper: a machine's 8)"
    )
    powersgd: PowerSGD | None = Field(None, description="between replicas; null: gradients go whole (paper: yes)")

    @model_validator(mode="after")
    def _shards_are_of_fsdp(self) -> "Distributed":
        if self.shards is not None and self.kind != "fsdp":
            raise ValueError(f"shards: {self.shards} is of no use with kind {self.kind!r}; 'fsdp' has them")
        return self

"""How a stage is trained. A default is what two CPU cores want; the paper's value stands beside it."""

from typing import Literal

from pydantic import Field, model_validator

from dalle.config.distributed import Distributed
from dalle.config.settings import Above0, BelowOne, Positive, Settings, Share


class Plateau(Settings):
    """When the step size is lowered because the validation loss stands still.

    The paper halved by hand, five times (§B.2), and says neither when nor by what rule; a rule can be repeated.
    """

    window: Positive = Field(10_000, description="updates in which the validation loss must have fallen")
    gain: Above0 = Field(0.001, description="by this share of itself at least; else the step size is lowered")
    factor: Share = Field(0.5, description="what the step size is multiplied by (paper: 1/2)")
    most: Positive = Field(5, description="so often at most (paper: 5, which ends at 1/32)")


class Optimisation(Settings):
    """How one stage is trained: batches, step size, averaging, precision, and what is kept against accidents."""

    optimiser: Literal["adamw", "muon"] = Field("adamw", description="muon: for the blocks' matrices (paper: adamw)")
    steps: Positive = Field(description="updates")
    batch_size: Positive = Field(32, description="pictures or pairs an update, of all processes together")
    accumulate: Positive = Field(
        1, description="parts, one after the other, that a process computes its share of the batch in (paper: 1)"
    )

    learning_rate: float = Field(1e-3, gt=0, description="peak step size")
    warmup: int = Field(20, ge=0, description="updates of linear warm-up")
    decay: Literal["cosine", "plateau", "constant"] = Field(
        "cosine", description="of the step size after warm-up (paper: dVAE cosine; prior plateau, by hand)"
    )
    decay_updates: Positive | None = Field(
        None, description="updates until a cosine ends; null: all (paper: dVAE 1,200,000 of 3,000,000)"
    )
    last_share: Share = Field(0.1, description="of the peak step size, where a cosine ends (paper: dVAE 0.0125)")
    cosine: Literal["half", "quarter"] = Field(
        "half",
        description="half: (1 + cos πf)/2 after the share f; quarter: cos(πf/2); of the dVAE's τ and β, too (paper: "
        "silent; half is what later schedules mean by the word)",
    )
    plateau: Plateau = Plateau()

    betas: tuple[BelowOne, BelowOne] = Field(
        (0.9, 0.96), description="AdamW's averaging constants (paper: prior 0.9, 0.96; dVAE 0.9, 0.999)"
    )
    epsilon: Above0 = Field(1e-8, description="AdamW's, beside the root of the second moment (paper: 1e-8)")
    weight_decay: float = Field(
        1e-4, ge=0, description="decoupled, see weight_decay_convention (paper: prior 0.045, dVAE 1e-4)"
    )
    weight_decay_convention: Literal["times_step_size", "absolute"] = Field(
        "times_step_size",
        description="what an update takes from a weight: step size · decay of it, or step size/peak · decay (paper: "
        "silent; 0.045 a step would forget everything within 22 updates, so absolute can hardly be meant)",
    )
    decayed: Literal["matrices", "all"] = Field("matrices", description="weights that decay (paper: silent)")
    clip_norm: float = Field(4.0, gt=0, description="largest global gradient norm (paper §B.2: 4)")
    clip_second_moment: Above0 | None = Field(
        None, description="AdamW's running second moments are cut at this value; null: nowhere (paper §B.2: 5)"
    )

    ema: BelowOne = Field(
        0.99, description="decay of the averaged weights, which are the ones used (paper: prior 0.99, dVAE 0.999)"
    )
    ema_every: Positive = Field(1, description="updates between two steps of the average (paper: prior 25)")
    ema_grows_in: bool = Field(
        True, description="the average soon forgets the start (paper: no; but short runs are mostly start)"
    )

    precision: Literal["float32", "bf16", "fp16"] = Field(
        "float32", description="of matrix products (paper: fp16; bf16 needs no scales; CPUs are slow at both)"
    )
    scaling: Literal["branch", "global"] = Field(
        "branch", description="of fp16: a scale for each residual branch (paper: prior), or one for all (paper: dVAE)"
    )
    checkpointing: bool = Field(False, description="blocks are recomputed in the backward pass (paper: prior yes)")
    distributed: Distributed = Distributed()

    checkpoint_every: Positive = Field(
        100, description="updates between checkpoints; an interrupted job goes on from the last"
    )
    keep: Positive = Field(2, description="checkpoints that are kept; a damaged one is passed over")
    validate_every: Positive = Field(1000, description="updates between validation losses, of stages that have them")
    divergence: Above0 | None = Field(
        3.0,
        description="nats: training stops where the loss, averaged over some 100 updates, is so much above the lowest "
        "such average; null: never (a good run falls by 5 nats and never rises by 1)",
    )

    @model_validator(mode="after")
    def _is_used(self) -> "Optimisation":
        for name, owner, value, given in (
            ("plateau", "decay", "plateau", self.decay),
            ("decay_updates", "decay", "cosine", self.decay),
            ("last_share", "decay", "cosine", self.decay),
            ("scaling", "precision", "fp16", self.precision),
        ):
            if given != value and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: is of no use with {owner} {given!r}; {value!r} has it")
        if self.decay_updates is not None and self.decay_updates <= self.warmup:
            raise ValueError(f"decay_updates: {self.decay_updates} is not more than warmup = {self.warmup}")
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> "Optimisation":
        shared = self.distributed
        whole_gradients = shared.kind == "ddp" and shared.powersgd is None
        if self.precision == "fp16" and self.scaling == "global" and not whole_gradients:
            raise ValueError("scaling: global goes with distributed.kind ddp without powersgd; branch goes with all")
        if self.optimiser == "muon" and shared.kind == "fsdp":
            raise ValueError("optimiser: muon needs whole matrices, distributed.kind fsdp cuts them; ddp does not")
        return self

"""How a stage is trained."""

from typing import Literal

from pydantic import Field

from dalle.config.settings import Positive, Settings, Share


class Optimisation(Settings):
    """How one stage is trained: warm-up, a cosine decay to a tenth, EMA of the weights."""

    optimiser: Literal["adamw", "muon"] = Field("adamw", description="muon: for the blocks' matrices (paper: adamw)")
    steps: Positive = Field(description="updates")
    batch_size: Positive = Field(32, description="pictures or pairs an update")
    learning_rate: float = Field(1e-3, gt=0, description="peak step size")
    warmup: int = Field(20, ge=0, description="updates of linear warm-up")
    betas: tuple[float, float] = Field((0.9, 0.96), description="AdamW's averaging constants")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled, multiplied by the step size; matrices only")
    clip_norm: float = Field(4.0, gt=0, description="largest global gradient norm (paper §B.2: 4)")
    ema: Share = Field(0.99, description="decay of the averaged weights, which are the ones used; grows in from 0")
    checkpoint_every: Positive = Field(
        100, description="updates between checkpoints; an interrupted job goes on from the last"
    )

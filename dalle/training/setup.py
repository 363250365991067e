"""What a stage must have for the settings to mean something, and what the loop tells its model."""

from torch import nn

from dalle.config.training import Optimisation


def set_up(stage: nn.Module, settings: Optimisation, name: str) -> None:
    """Tells ``stage.model`` whether its blocks are recomputed.

    Raises ValueError for settings that a stage has no use for: branches, recomputation, a validation loss.
    """
    model, distributed = stage.model, settings.distributed
    if settings.decay == "plateau" and not stage.validated:
        raise ValueError(f"{name}: decay: plateau watches a validation loss, and nothing is held out; cosine does not")
    if settings.precision == "fp16" and settings.scaling == "branch" and not hasattr(model, "scales"):
        raise ValueError(f"{name}: scaling: branch is for models of residual branches; allowed here is global")
    if distributed.powersgd is not None and not hasattr(model, "branches"):
        raise ValueError(f"{name}: powersgd is for the matrices of residual branches; allowed here is null")
    if settings.checkpointing and not hasattr(model, "checkpointing"):
        raise ValueError(f"{name}: checkpointing is for models of blocks; allowed here is false")
    if settings.checkpointing:
        model.checkpointing = True


def release(model: nn.Module) -> None:
    """``model`` is as it was before a training: in float32, nothing recomputed."""
    for what, value in (("checkpointing", False), ("scales", None)):
        if hasattr(model, what):
            setattr(model, what, value)

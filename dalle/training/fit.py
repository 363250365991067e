"""The only training loop. It knows a stage's loss and nothing of pictures, captions or codes."""

import csv
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from dalle.config.training import Optimisation
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.training.checkpoint import read_checkpoint, training_key, write_checkpoint
from dalle.training.optim import (
    ema_decay,
    learning_rate,
    make_optimizers,
    set_learning_rate,
    start_average,
    update_average,
)
from dalle.training.progress import Progress

LOG_EVERY = 10  # updates between rows of the log
Draw = Callable[[int], tuple[Tensor, torch.Generator]]


def fit(
    stage: nn.Module, settings: Optimisation, seed: int, checkpoint: Path, log: Path, name: str
) -> dict[str, Shaped[Tensor, "..."]]:
    """The averaged weights (EMA, on the CPU) of ``stage.model`` after ``settings.steps`` updates.

    ``stage`` is a :class:`dalle.systems.stage.Stage`: its forward takes indices, step and generator (both on its own
    device) and gives the loss and a dict of scalars. Batch and randomness of an update follow from (seed, name, step)
    alone, so a training that was killed and started again ends with the same bits, and so does its ``log`` (CSV: step,
    loss, learning_rate, grad_norm, the stage's scalars). ``checkpoint`` is gone at the end. Several processes
    (accelerate, torchrun) share each batch. Raises ValueError for a batch larger than the data or not divisible by the
    processes, FloatingPointError at the first loss or gradient that is not finite.
    """
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)])
    wrapped, *optimizers = accelerator.prepare(stage.train(), *make_optimizers(stage.model, settings))
    draw = _drawing(settings.batch_size, stage.examples, seed, name, accelerator)
    key = training_key(settings, seed, name, _probe(stage, settings, seed, name, accelerator))
    average, rows, first = start_average(stage.model), [], 0
    if saved := read_checkpoint(checkpoint, key, accelerator.device):
        stage.model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        average, rows, first = saved["average"], saved["rows"], saved["step"]

    progress = Progress(name, first, settings.steps)
    for step in range(first, settings.steps):
        set_learning_rate(optimizers, learning_rate(settings, step))
        facts = _update(accelerator, wrapped, optimizers, draw, settings.clip_norm, step, name)
        update_average(average, stage.model, ema_decay(settings.ema, step))
        done = step + 1
        if step % LOG_EVERY == 0 or done == settings.steps:
            rows.append(_row(step, learning_rate(settings, step), facts, accelerator))
        if accelerator.is_main_process:
            progress.show(done, float(facts["loss"]))
            if done % settings.checkpoint_every == 0 and done < settings.steps:
                state = {"model": stage.model.state_dict(), "optimizers": [each.state_dict() for each in optimizers]}
                write_checkpoint(checkpoint, key, state | {"average": average, "rows": rows, "step": done})

    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _write_log(log, rows)
        checkpoint.unlink(missing_ok=True)
    return {key: value.cpu().contiguous() for key, value in average.items()}


def batch_indices(seed: int, name: str, step: int, batch_size: int, examples: int) -> Int[Tensor, " batch"]:
    """The examples of update ``step``: each epoch is a fresh permutation, cut into whole batches.

    What is left of an epoch (less than a batch) is dropped, so no batch has an example twice.
    """
    epoch, number = divmod(step, examples // batch_size)
    return _permutation(seed_for(seed, name, "epoch", epoch), examples)[number * batch_size : (number + 1) * batch_size]


@lru_cache(maxsize=2)
def _permutation(seed: int, examples: int) -> Int[Tensor, " examples"]:
    return torch.randperm(examples, generator=torch.Generator().manual_seed(seed))


def _generator(seed: int, name: str, step: int, process: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_for(seed, name, "noise", step, process))


def _drawing(batch_size: int, examples: int, seed: int, name: str, accelerator: Accelerator) -> Draw:
    """The function from a step to this process's share of the batch and its randomness."""
    if batch_size > examples:
        raise ValueError(f"{name}: batch_size {batch_size} is more than the {examples} training examples")
    if batch_size % accelerator.num_processes:
        raise ValueError(f"{name}: batch_size {batch_size} cannot be shared by {accelerator.num_processes} processes")
    process, device = accelerator.process_index, accelerator.device

    def draw(step: int) -> tuple[Tensor, torch.Generator]:
        indices = batch_indices(seed, name, step, batch_size, examples)[process :: accelerator.num_processes]
        return indices.to(device), _generator(seed, name, step, process, device)

    return draw


@torch.no_grad()
def _probe(stage: nn.Module, settings: Optimisation, seed: int, name: str, accelerator: Accelerator) -> list[float]:
    """Losses of the untrained stage at its first and last step, the same in every process."""
    share = settings.batch_size // accelerator.num_processes
    indices = batch_indices(seed, name, 0, settings.batch_size, stage.examples)[:share].to(accelerator.device)
    steps = (0, settings.steps - 1)
    return [float(stage(indices, step, _generator(seed, name, step, 0, accelerator.device))[0]) for step in steps]


def _update(
    accelerator: Accelerator,
    wrapped: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    draw: Draw,
    clip_norm: float,
    step: int,
    name: str,
) -> dict[str, Tensor]:
    """One update. Gives loss (mean over processes), grad_norm (before clipping) and the stage's scalars."""
    indices, generator = draw(step)
    loss, scalars = wrapped(indices, step, generator)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(wrapped.parameters(), clip_norm)
    facts = {"loss": accelerator.reduce(loss.detach(), "mean"), "grad_norm": norm.detach()}
    for what, value in facts.items():
        if not isfinite(float(value)):
            raise FloatingPointError(f"stage {name}, step {step}: {what} is {float(value)}; nothing was updated")
    for optimizer in optimizers:
        optimizer.step()
    return facts | scalars


def _row(step: int, rate: float, facts: dict[str, Tensor], accelerator: Accelerator) -> dict[str, float]:
    scalars = {what: float(accelerator.reduce(value.detach().float(), "mean")) for what, value in facts.items()}
    return {"step": step, "loss": scalars.pop("loss"), "learning_rate": rate, **scalars}


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({what: f"{value:.6g}" for what, value in row.items()} for row in rows)

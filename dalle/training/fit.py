"""The only training loop. It knows a stage's loss and nothing of pictures, captions or codes."""

import csv
from pathlib import Path

from jaxtyping import Shaped
from torch import Tensor, nn

from dalle.config.training import Optimisation
from dalle.provenance import atomic
from dalle.training.alarm import StopSignal
from dalle.training.launch import in_processes, processes_to_start
from dalle.training.nodes import num_nodes
from dalle.training.run import Row, Training


def fit(
    stage: nn.Module, settings: Optimisation, seed: int, checkpoint: Path, log: Path, name: str
) -> dict[str, Shaped[Tensor, "..."]]:
    """The averaged weights (EMA, on the CPU) of ``stage.model`` after ``settings.steps`` updates.

    ``stage`` is a :class:`dalle.systems.stage.Stage`: its forward takes indices, step and generator (both on its own
    device) and gives the loss and a dict of scalars. Batch and randomness of an update follow from (seed, name, step)
    alone, so a training that was killed and started again ends with the same bits, and so does its ``log`` (CSV: step,
    loss, learning_rate, grad_norm, the stage's scalars). What the stage says of its validation is in
    ``validation.csv`` beside it. Checkpoints lie beside ``checkpoint`` and are gone at the end.

    Several processes share each batch: those that torchrun or accelerate started, or else as many as there are GPUs on
    every machine of the Slurm job. Raises ValueError for settings that do not fit the stage, its data or the processes;
    FloatingPointError where the loss or a gradient is not finite, or the loss diverges. SIGTERM and Ctrl-C end in a
    checkpoint and KeyboardInterrupt.
    """
    count = processes_to_start(settings.distributed)
    if count * num_nodes() > 1:
        return in_processes(count, train, stage, settings, seed, checkpoint, log, name)
    return train(stage, settings, seed, checkpoint, log, name)


def train(
    stage: nn.Module, settings: Optimisation, seed: int, checkpoint: Path, log: Path, name: str
) -> dict[str, Shaped[Tensor, "..."]]:
    """What :func:`fit` does, in this process and its team."""
    training = Training(stage, settings, seed, checkpoint, name)
    with StopSignal() as stop:
        training.run(stop)
    training.team.wait()
    if training.team.is_main:
        _write_csv(log, training.rows)
        if training.validations:
            _write_csv(log.with_name("validation.csv"), training.validations)
        training.say_traffic()
    training.checkpoints.clear()
    return training.result()


def _write_csv(path: Path, rows: list[Row]) -> None:
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({what: f"{value:.6g}" for what, value in row.items()} for row in rows)

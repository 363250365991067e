"""Several processes for one training, from within a job that is one process: torchrun starts them.

What is called, and with what, goes to them as a file, and so does what comes back; what they print comes by a pipe and
so reaches the job's log. They end with the job: by SIGTERM, on which a training writes a checkpoint.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dalle.config.distributed import Distributed
from dalle.training.alarm import StopSignal
from dalle.training.nodes import environment, num_nodes, torchrun

ERRORS = {"ValueError": ValueError, "FloatingPointError": FloatingPointError}  # what a training says in its own words


def processes_to_start(settings: Distributed) -> int:
    """How many processes a training needs on each machine: 1 if they are there already, or if one is enough."""
    if "WORLD_SIZE" in os.environ:  # torchrun, accelerate, srun: started from outside
        return 1
    return settings.processes or max(1, torch.cuda.device_count())


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function(*arguments)`` gives in the first of ``count`` processes of torch.distributed on each machine.

    The machines are those that Slurm gave this job; they share the current folder.

    Raises what the function raises of its own (ValueError, FloatingPointError), KeyboardInterrupt after SIGTERM or
    Ctrl-C, RuntimeError for everything else; that says what went wrong on standard error.
    """
    nodes = num_nodes()
    place = None if nodes == 1 else Path.cwd()
    with TemporaryDirectory(prefix=".training-", dir=place) as folder, StopSignal() as stop:
        torch.save((function, arguments), Path(folder) / "call.pt")
        modules = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        team = subprocess.Popen(
            torchrun(["-m", __name__, folder], count, nodes),
            env=environment(os.environ) | modules,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C comes to us alone
        )
        _relay(team, stop)
        if stop.asked:
            raise KeyboardInterrupt
        failure = Path(folder) / "error.txt"
        if failure.exists():
            kind, _, words = failure.read_text(encoding="utf-8").partition("\n")
            raise ERRORS[kind](words)
        if team.returncode:
            raise RuntimeError(f"a training in {count} processes ended with exit status {team.returncode}")
        return torch.load(Path(folder) / "result.pt", weights_only=False)


def _relay(team: subprocess.Popen, stop: StopSignal) -> None:
    """Says what the processes say until they have ended; a signal to stop is handed on, once."""
    stop.then = team.terminate
    for line in team.stdout:
        print(line, end="", file=sys.stderr, flush=True)
    team.wait()


def main(folder: Path) -> None:
    """One of the processes."""
    function, arguments = torch.load(folder / "call.pt", weights_only=False)
    try:
        result = function(*arguments)
    except tuple(ERRORS.values()) as error:
        if os.environ["RANK"] == "0":
            (folder / "error.txt").write_text(f"{type(error).__name__}\n{error}", encoding="utf-8")
        raise
    if os.environ["RANK"] == "0":
        torch.save(result, folder / "result.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Processes on every machine that Slurm gave a job. Elsewhere there is one machine: this one.

A rule's script is one process on the first node of its allocation, whatever the number of nodes: it asks Slurm how many
there are, and starts torchrun on each of them. Started so, the processes find one another through the first node.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

KEPT = ("SLURM_JOB_ID", "SLURM_CONF")  # the rest describes the step of the script itself, of one process on one node


def num_nodes() -> int:
    """Machines of this process's Slurm job; 1 outside Slurm, and where somebody else has started all processes.

    Raises ValueError where Slurm cannot be asked, or does not know the job.
    """
    if (job := os.environ.get("SLURM_JOB_ID")) is None or "WORLD_SIZE" in os.environ:
        return 1
    if shutil.which("squeue") is None:
        raise ValueError(f"SLURM_JOB_ID={job}: without squeue it cannot be told how many machines this job has")
    asked = subprocess.run(
        ["squeue", "--noheader", "--jobs", job, "--format=%D"], capture_output=True, text=True, check=False
    )
    if not asked.stdout.strip().isdigit():
        raise ValueError(
            f"SLURM_JOB_ID={job}: squeue knows of no such job: {asked.stderr.strip() or repr(asked.stdout)}"
        )
    return int(asked.stdout)


def torchrun(program: Sequence[str], processes: int, nodes: int = 1) -> list[str]:
    """The command that runs ``program``, torchrun's own arguments, in ``processes`` processes on each of ``nodes``.

    On several nodes it must be started by a process on the first one, and with :func:`environment`.
    """
    run = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    if nodes == 1:
        return [*run, "--standalone", *program]
    first, job = f"{socket.gethostname()}:{_free_port()}", os.environ["SLURM_JOB_ID"]
    meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={first}", f"--rdzv-id={job}"]
    # The script's own step holds what it was given: --overlap shares it.
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    return [*srun, *run, *meeting, *program]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """``variables`` without what Slurm says of the present step: a step inside would inherit its limits."""
    return {name: value for name, value in variables.items() if name in KEPT or not name.startswith("SLURM_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]

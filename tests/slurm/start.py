"""A real Slurm on this machine: controller, two nodes and munge on loopback, everything in one folder.

``python tests/slurm/start.py FOLDER`` starts it, prints what a shell must export to use it, and stops it at Ctrl-C.
Debian has the programs: ``apt-get install --no-install-recommends slurmctld slurmd munge slurm-client``. Only root can
be Slurm's user here, because nodes start jobs in the name of whoever submits them.

Nodes believe in as many cores, bytes and GPUs as this file says: two nodes share one machine, and no GPU is there. The
numbers count only for what is scheduled where. A job that takes more memory than it asked for is killed, as elsewhere.
"""

import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "sinfo")
NODES = 2
CORES, MEMORY, GPUS = 2, 1_000_000, 2  # of each node; MB
PATIENCE = 30  # seconds until a daemon must answer
CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=7200
KillWait=5
SchedulerParameters=sched_interval=2,bf_interval=2
"""
NODE = (
    "NodeName=node{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs={cores} RealMemory={memory} Gres=gpu:{gpus}\n"
)
PARTITIONS = """\
PartitionName=cpu Nodes=node[1-{nodes}] Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=node[1-{nodes}] MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """What must be installed before a Slurm can start here."""
    return [program for program in PROGRAMS if not _find(program)]


def _find(program: str) -> str | None:
    """Daemons stand in a place that is not on everybody's path."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A Slurm that lives as long as the block; yields the environment variables that lead clients to it.

    Raises RuntimeError, with the daemons' last words, if it does not come up.
    """
    folder = folder.resolve()
    environment = {"SLURM_CONF": _write_configuration(folder).as_posix()}
    environment["PATH"] = f"{_write_srun(folder, **environment)}:{os.environ.get('PATH', os.defpath)}"
    with ExitStack() as stack:
        stack.enter_context(_daemon(folder, "munged", *_munge_options(folder)))
        _wait(folder, "munged", (folder / "munge.socket").exists)
        stack.enter_context(_daemon(folder, "slurmctld", "-D", "-c", **environment))
        for n in range(1, NODES + 1):
            stack.enter_context(_daemon(folder, "slurmd", "-D", "-c", "-N", f"node{n}", **environment))
        _wait(folder, "nodes", lambda: _num_idle(environment) == NODES)
        try:
            yield environment
        finally:
            _call(environment, "scancel", "--full", "--user", "root")
            _wait(folder, "jobs to end", lambda: not _call(environment, "squeue", "--noheader"))


def _write_configuration(folder: Path) -> Path:
    """slurm.conf, gres.conf, munge's key and empty folders of state."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munge trusts no socket in a folder that others may write to
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    for n in range(GPUS):
        os.mknod(folder / f"gpu{n}", stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
    gpus = f"NodeName=node[1-{NODES}] Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n"
    (folder / "gres.conf").write_text(gpus, encoding="utf-8")
    host, ports = socket.gethostname().split(".")[0], _free_ports(1 + NODES)
    size = {"cores": CORES, "memory": MEMORY, "gpus": GPUS}
    nodes = [NODE.format(n=n, host=host, port=port, **size) for n, port in enumerate(ports[1:], start=1)]
    head = CONF.format(folder=folder, host=host, ports=ports)
    (folder / "slurm.conf").write_text(head + "".join(nodes) + PARTITIONS.format(nodes=NODES), encoding="utf-8")
    return folder / "slurm.conf"


def _write_srun(folder: Path, SLURM_CONF: str) -> Path:
    """The folder of an ``srun`` that knows where its configuration lies.

    Snakemake's job steps take SLURM_CONF from the environment of the srun they start, and nothing is in /etc/slurm.
    """
    program = folder / "bin" / "srun"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nSLURM_CONF="{SLURM_CONF}" exec "{_find("srun")}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program.parent


def _free_ports(num: int) -> list[int]:
    """Ports of loopback that nobody listens on just now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _munge_options(folder: Path) -> list[str]:
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log"}
    return ["--foreground", "--force", f"--seed-file={folder / 'munge.seed'}"] + [
        f"--{option}={folder / name}" for option, name in files.items()
    ]


@contextmanager
def _daemon(folder: Path, program: str, *options: str, **environment: str) -> Iterator[None]:
    """A daemon in the foreground of its own process, told to stop at the end of the block."""
    with open(folder / f"{program}.out", "ab") as words:
        process = subprocess.Popen(
            [_find(program), *options], stdout=words, stderr=words, env=os.environ | environment, cwd=folder
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _call(environment: dict[str, str], *command: str) -> str:
    asked = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _num_idle(environment: dict[str, str]) -> int:
    return (
        _call(environment, "sinfo", "--Node", "--partition=cpu", "--noheader", "--format=%T").splitlines().count("idle")
    )


def _wait(folder: Path, what: str, is_there: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not is_there():
        if time.monotonic() > until:
            words = [
                f"{file.name}: {file.read_text(errors='replace')[-2000:]}" for file in sorted(folder.glob("*.log"))
            ]
            raise RuntimeError("\n".join([f"waited {PATIENCE} s in vain for {what}", *words]))
        time.sleep(0.2)


if __name__ == "__main__":
    if missing := missing_programs():
        sys.exit(f"not installed: {', '.join(missing)}")
    with slurm(Path(sys.argv[1])) as variables:
        print(*(f"export {name}={value}" for name, value in variables.items()), sep="\n", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass

"""An experiment's sampling on a cluster: jobs, hours, what storage and scheduler have to bear, for any number of GPUs.

A job draws one block of candidates for one shard of every suite; another scores them. What a job costs beside its work
was measured with Slurm on one machine: docs/cluster.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalle.config.reading import load_config, read_yaml
from dalle.plan.cost import (
    HOUR,
    Cluster,
    candidates_bytes,
    codes_bytes,
    find_chip,
    gpu_hours,
    sampling_hours,
)
from dalle.plan.flops import counted_flops, dvae_loss, forward_flops, training_flops
from dalle.plan.memory import SINGLE
from dalle.plan.parameters import prior_parameters
from dalle.plan.report import Section
from dalle.plan.traffic import GPUS_A_MACHINE
from dalle.plan.work import Work, dvae_without_numbers, prior_without_numbers, read_work

START = 9.0  # s a job needs beside its script: a batch script, a step, and Snakemake reading its rules in each
STORAGE = 1e9  # bytes/s that one job reads weights with; a shared disk gives more in all, and less to each
CALLS_A_JOB = 9  # of Slurm's controller: submission, step, two ends, and what either Snakemake asks as it starts
STATUS_INTERVAL, STATUS_CALLS = 40, 4  # s between two checks of the state of all jobs together; calls of one
SCORE = 12  # bytes of a score with its caption's and candidate's numbers, before compression
CHAIN = ("sample", "score")


@dataclass(frozen=True)
class Drawing:
    """What one kind of cluster makes of the sampling. Hours are those of a clock."""

    gpus: int
    jobs: int  # that draw; as many score
    busy: float  # GPU-hours of drawing at the chip's peak: what cannot be undercut
    waiting: float  # GPU-hours in which a GPU waits for Snakemake and for weights

    @property
    def rounds(self) -> int:
        """How often every GPU gets a job, the last time not all of them."""
        return -(-self.jobs // self.gpus)

    @property
    def hours(self) -> float:
        """From the first job to the last, if all jobs take equally long."""
        return self.rounds * (self.busy + self.waiting) / self.jobs

    @property
    def idle(self) -> float:
        """The share of GPU-hours that no job uses, because the last round is not full."""
        return 1 - self.jobs / (self.rounds * self.gpus)

    @property
    def calls_an_hour(self) -> float:
        """What Slurm's controller has to answer while all is drawn and scored: for every job, and for their state."""
        return len(CHAIN) * self.jobs * CALLS_A_JOB / self.hours + STATUS_CALLS * HOUR / STATUS_INTERVAL


def drawing(work: Work, cluster: Cluster) -> Drawing:
    """The sampling of an experiment on the GPUs of ``cluster``; a job has one of them.

    A job waits :data:`START` and for its weights, float32, at :data:`STORAGE`.
    """
    parameters = prior_parameters(prior_without_numbers(work.shape))
    drawings = work.prompts * work.candidates
    busy = sampling_hours(work.shape, parameters, drawings, work.rows, cluster.chip)
    waiting = work.jobs * (START + SINGLE * parameters.total / STORAGE) / HOUR
    return Drawing(cluster.gpus, work.jobs, busy, waiting)


def num_files(work: Work) -> int:
    """Files that drawing and scoring leave: an archive a suite, a log and a benchmark of either job."""
    return len(CHAIN) * work.jobs * (work.suites + 2)


def weights_read(work: Work) -> int:
    """Bytes: every job that draws reads the prior's weights, float32, from the shared folder."""
    return work.jobs * SINGLE * prior_parameters(prior_without_numbers(work.shape)).total


def training_hours(work: Work, cluster: Cluster) -> dict[str, float]:
    """Hours of a clock in which the stages train one after the other on all GPUs, at the cluster's MFU."""
    prior, dvae = work.prior, work.dvae.optimisation
    flops = 3 * counted_flops(lambda: dvae_loss(dvae_without_numbers(work.dvae), work.image_size))
    update = training_flops(forward_flops(work.shape, dense=False), recompute=False) * prior.batch_size
    stages = {"dvae": flops * dvae.batch_size * dvae.steps, "prior": update * prior.steps}
    return {name: gpu_hours(number, cluster) / cluster.gpus for name, number in stages.items()}


def cluster_sections(config: str | Path, chip: str, gpus: Sequence[int], mfu: float = 0.4) -> list[Section]:
    """Two tables of the experiment of a config file: hours and scheduler load, a column for each number of GPUs; and
    what lands on disk, whatever their number.

    Raises ValueError for a config that is none, an unknown chip, and numbers that are not whole machines.
    """
    work = read_work(load_config(read_yaml(config)))
    clusters = [Cluster(find_chip(chip), number, min(number, GPUS_A_MACHINE), mfu) for number in gpus]
    return [_on_gpus(work, clusters), _storage(work)]


def _on_gpus(work: Work, clusters: Sequence[Cluster]) -> Section:
    drawings = [drawing(work, cluster) for cluster in clusters]
    trained = [training_hours(work, cluster) for cluster in clusters]
    rows = {
        "the dVAE's training, hours": [_hours(hours["dvae"]) for hours in trained],
        "the prior's training, hours": [_hours(hours["prior"]) for hours in trained],
        "drawing, hours at best": [_hours(each.hours) for each in drawings],
        "… of a job": [_hours(each.hours / each.rounds) for each in drawings],
        "… of it waiting for Snakemake and weights": [_share(each.waiting, each.busy) for each in drawings],
        "jobs a GPU, one after the other": [f"{each.rounds:,}" for each in drawings],
        "GPUs idle at the end": [f"{each.idle:.1%}" for each in drawings],
        "calls of the scheduler an hour": [f"{each.calls_an_hour:,.0f}" for each in drawings],
    }
    chip = clusters[0].chip.name
    title = f"On a cluster: {work.prompts:,} captions × {work.candidates}, {len(CHAIN) * work.jobs:,} jobs, {chip}"
    columns = ("GPUs", *(f"{each.gpus:,}" for each in drawings))
    return Section(title, columns, [(name, *texts) for name, texts in rows.items()])


def _storage(work: Work) -> Section:
    number = work.prompts * work.candidates
    rows = [
        ("candidates, written", _gigabytes(candidates_bytes(work.shape, number)), f"{work.jobs * work.suites:,}"),
        ("scores, written", _gigabytes(SCORE * number), f"{work.jobs * work.suites:,}"),
        ("with logs and benchmarks", "", f"{num_files(work):,}"),
        ("training pictures as codes", _gigabytes(codes_bytes(work.shape, work.pairs)), ""),
        ("weights, read by the jobs in all", _gigabytes(weights_read(work)), ""),
    ]
    return Section("On the cluster's shared storage", ("what", "GB", "files"), rows)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _share(part: float, rest: float) -> str:
    return f"{part / (part + rest):.1%}"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:,.3g}" if number < 1e11 else f"{number / 1e9:,.0f}"

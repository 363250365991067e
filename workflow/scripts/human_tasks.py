"""A/B tasks for people."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from dalle.config import Human
    from eval.human.tasks import Contestant, write_tasks

    given, params = snakemake.input, snakemake.params
    sides = zip(params.sides, given.pictures, given.selections, strict=True)
    first, second = (Contestant(system, *paths, n) for (system, n), *paths in sides)
    settings = Human.model_validate(params.settings)
    write_tasks(first, second, Path(snakemake.output.tasks).parent, settings, params.seed)

"""Samples under their captions."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.grids import sample_grid

    shown = {"system": "dalle1", "suite": snakemake.wildcards.suite}
    sample_grid(**dict(snakemake.input.items()), out=snakemake.output[0], **shown)

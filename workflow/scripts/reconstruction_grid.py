"""Originals over their reconstructions."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.grids import reconstruction_grid

    reconstruction_grid(**dict(snakemake.input.items()), out=snakemake.output[0])

"""Originals over their reconstructions."""

from dalle.joblog import job

with job(snakemake):
    from eval.grids import reconstruction_grid

    reconstruction_grid(**dict(snakemake.input.items()), out=snakemake.output[0])

"""Samples under their captions."""

from dalle.joblog import job

with job(snakemake):
    from eval.grids import sample_grid

    shown = {"system": "dalle1", "suite": snakemake.wildcards.suite}
    sample_grid(**dict(snakemake.input.items()), out=snakemake.output[0], **shown)

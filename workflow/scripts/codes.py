"""Caches the image codes of the training pictures."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.systems.codes import write_codes

    write_codes(Path(snakemake.input.dvae).parent, snakemake.input.pictures, snakemake.output[0])

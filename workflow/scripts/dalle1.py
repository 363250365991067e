"""Decodes the distinct winners."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.systems.dalle1 import write_pictures

    given, made = snakemake.input, snakemake.output
    dvae = Path(given.dvae).parent
    write_pictures(given.winners, list(given.candidates), dvae, given.prompts, made.pictures, made.selection)

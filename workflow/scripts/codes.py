"""Caches the image codes of the training pictures."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.systems.codes import write_codes

    given, store = snakemake.input, snakemake.params.store
    write_codes(Path(given.dvae).parent, given.pictures, snakemake.output[0], store)

"""Brings the photographs and captions."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.data import data_from
    from dalle.data.real import write_photographs

    settings = data_from(snakemake.params.settings | snakemake.params.unseen)
    write_photographs(settings, snakemake.params.seed, Path(snakemake.output.train).parent)

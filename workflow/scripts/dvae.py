"""Trains stage 1."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.models import DVAE
    from dalle.training.dvae import train_dvae

    settings = DVAE.model_validate(snakemake.params.settings)
    archives = [snakemake.input.train, snakemake.input.uncaptioned]
    train_dvae(archives, Path(snakemake.output.weights).parent, settings, snakemake.params.seed)

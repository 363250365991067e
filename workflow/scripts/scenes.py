"""Draws the pictures and captions."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.data import Scenes
    from dalle.data.archives import write_scenes

    settings = Scenes.model_validate(snakemake.params.settings)
    write_scenes(settings, snakemake.params.seed, Path(snakemake.output.train).parent)

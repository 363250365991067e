"""Trains the reranker."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.models import Clip
    from dalle.training.clip import train_clip

    given, params = snakemake.input, snakemake.params
    folder, settings = Path(snakemake.output.weights).parent, Clip.model_validate(params.settings)
    train_clip(given.train, given.tokenizer, folder, settings, params.context, params.seed)

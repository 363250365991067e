"""Learns the byte pairs of the captions."""

from dalle.joblog import job

with job(snakemake):
    from dalle.config.models import Tokenizer
    from dalle.tokenizer import train_tokenizer

    train_tokenizer(snakemake.input.train, snakemake.output[0], Tokenizer.model_validate(snakemake.params.settings))

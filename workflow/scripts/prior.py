"""Trains stage 2."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.models import Prior
    from dalle.training.prior import train_prior

    given, params = snakemake.input, snakemake.params
    folder, settings = Path(snakemake.output.weights).parent, Prior.model_validate(params.settings)
    sizes = {"context": params.context, "codes_k": params.codes_k}
    train_prior(given.archives, given.codes, given.tokenizer, folder, settings, seed=params.seed, **sizes)

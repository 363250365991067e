"""Draws one block of candidates for one shard of each suite."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.sampling import Sampling
    from dalle.sampling.candidates import draw

    given, params, job = snakemake.input, snakemake.params, snakemake.wildcards
    prior, settings = Path(given.prior).parent, Sampling(**params.settings, **params.unseen)
    common = {"settings": settings, "seed": params.seed, "shard": int(job.shard), "block": int(job.block)}
    for suite in params.suites:
        draw(given[suite], prior, given.tokenizer, snakemake.output[suite], suite=suite, **common)

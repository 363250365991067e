"""Asks contrastive models whether pictures agree with their captions."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from eval.agreement import write_agreement

    given, params = snakemake.input, snakemake.params
    own = Path(given.clip).parent
    write_agreement(given.archives, params.protocols, own, given.tokenizer, params.weights, snakemake.output[0])

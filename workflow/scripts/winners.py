"""Finds the best candidate of the first N, for every N."""

from dalle.joblog import job

with job(snakemake):
    from dalle.rerank import write_winners

    write_winners(list(snakemake.input), snakemake.output[0], tuple(snakemake.params.n_candidates))

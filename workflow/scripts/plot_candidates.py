"""Quality against the number of candidates."""

from dalle.joblog import job

with job(snakemake):
    from eval.plots import plot_candidates

    plot_candidates(snakemake.input[0], snakemake.output[0], snakemake.params.protocols)

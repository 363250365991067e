"""Quality against the number of candidates."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.plots import plot_candidates

    plot_candidates(snakemake.input[0], snakemake.output[0], snakemake.params.protocols)

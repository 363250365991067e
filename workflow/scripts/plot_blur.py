"""Quality against blur."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.plots import plot_blur

    plot_blur(snakemake.input[0], snakemake.output[0])

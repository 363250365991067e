"""The training curves."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.plots import plot_training

    plot_training(dict(snakemake.input.items()), snakemake.output[0])

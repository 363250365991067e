"""The training curves."""

from dalle.joblog import job

with job(snakemake):
    from eval.plots import plot_training

    plot_training(dict(snakemake.input.items()), snakemake.output[0])

"""The paper's figure 9: FID and Inception Score against blur and against N."""

from dalle.joblog import job

with job(snakemake):
    from eval.plots import plot_figure9

    plot_figure9(snakemake.input[0], snakemake.output[0], snakemake.params.protocols)

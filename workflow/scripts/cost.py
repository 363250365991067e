"""What each rule cost."""

from dalle.joblog import job

with job(snakemake):
    from eval.tables import write_cost

    write_cost(list(snakemake.input), snakemake.output.parquet)

"""What each rule cost."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.tables import write_cost

    write_cost(list(snakemake.input), snakemake.output.parquet)

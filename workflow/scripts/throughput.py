"""How fast the rules worked."""

from dalle.joblog import job

with job(snakemake):
    from eval.throughput import write_throughput

    given, stages = snakemake.input, snakemake.params.stages
    logs = dict(zip(stages, given.logs, strict=True))
    write_throughput(given.cost, logs, stages, given.coded, given.candidates, snakemake.output.parquet)

"""Every metric of every system, suite, N and blur radius."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.sweep import write_metrics

    given, params = snakemake.input, snakemake.params
    facts = {"experiment": params.experiment, "seed": params.seed, "splits": params.splits}
    out = snakemake.output.parquet
    write_metrics(given.features, given.selections, given.image_scores, given.protocol, out, **facts)

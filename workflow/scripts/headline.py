"""What a run prints when it is done."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.headline import write_headline

    given = snakemake.input
    write_headline(given.metrics, given.clip_report, given.data_report, snakemake.output[0], snakemake.params.protocols)

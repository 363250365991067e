"""Says what there is of photographs and captions."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.data.report import write_data_report

    given, params, made = snakemake.input, snakemake.params, snakemake.output
    write_data_report(Path(given.report).parent, given.tokenizer, params.context, made.parquet, made.figure)

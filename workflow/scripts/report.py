"""Everything on one page."""

from dalle.joblog import job

with job(snakemake):
    from eval.report.page import Files, write_report

    write_report(Files(**dict(snakemake.input.items())), snakemake.params.settings, snakemake.output[0])

"""What people said, or that they have not said it yet."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.human import Panel
    from eval.human.report import write_report

    params, out, tables = snakemake.params, snakemake.output, Path(snakemake.output.tables[0]).parent
    studies = {pair: Path(file).parent for pair, file in zip(params.pairs, snakemake.input.studies, strict=True)}
    panel = Panel(**params.panel)
    write_report(studies, params.votes, params.places, panel, params.seed, tables, out.figure, out.text)

"""Mirrors the finished results into MLflow runs."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from eval.track import mirror

    out = Path(snakemake.output[0])
    mirror(out.parent, snakemake.params.settings, out)

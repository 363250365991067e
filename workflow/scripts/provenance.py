"""Records what made the tables and figures."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.verify.record import write_record

    params, out = snakemake.params, Path(snakemake.output[0])
    write_record(out.parent, list(snakemake.input), params.settings, params.texts, out)

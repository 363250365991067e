"""Real pictures as a system: the floor of what compares sets, or the ceiling of what looks at captions."""

from dalle.joblog import job

with job(snakemake):
    from dalle.systems.oracle import write_real

    made = snakemake.output
    for archive, out, selection in zip(snakemake.input, made.pictures, made.selections, strict=True):
        write_real(archive, out, selection)

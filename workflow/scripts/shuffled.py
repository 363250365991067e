"""What chance gives: our pictures under other captions."""

from dalle.joblog import job

with job(snakemake):
    from dalle.systems.oracle import write_shuffled

    given, made = snakemake.input, snakemake.output
    write_shuffled(given.pictures, given.selection, made.pictures, made.selection, snakemake.params.seed)

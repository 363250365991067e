"""What the codes allow: real pictures through the dVAE."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.systems.oracle import write_reconstructions

    given, made = snakemake.input, snakemake.output
    dvae, weights = Path(given.dvae).parent, snakemake.params.weights
    for archive, out, selection in zip(given.references, made.pictures, made.selections, strict=True):
        write_reconstructions(archive, dvae, weights, out, selection)

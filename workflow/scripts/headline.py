"""What a run prints when it is done."""

from dalle.joblog import job

with job(snakemake):
    from eval.headline import write_headline

    write_headline(**dict(snakemake.input.items()), out=snakemake.output[0], protocols=snakemake.params.protocols)

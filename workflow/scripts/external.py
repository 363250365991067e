"""Takes in the pictures of another program."""

from dalle.joblog import job

with job(snakemake):
    from dalle.config.systems import External
    from dalle.systems.external import write_external

    settings, made = External.model_validate(snakemake.params.settings), snakemake.output
    write_external(settings, snakemake.input.prompts, made.pictures, made.selection)

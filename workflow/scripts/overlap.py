"""Looks for reference pictures that occur in training."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.data import Overlap
    from dalle.config.sampling import Rerank
    from dalle.neighbours import write_neighbours

    given, params, made = snakemake.input, snakemake.params, snakemake.output
    suites = dict(zip(params.suites, given.references, strict=True))
    settings, rerank = Overlap.model_validate(params.settings), Rerank.model_validate(params.rerank)
    write_neighbours(suites, given.training, Path(made.overlap).parent, made.sheet, settings, rerank)

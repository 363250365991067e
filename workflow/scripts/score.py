"""Scores candidates against their captions."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.config.sampling import Rerank
    from dalle.models.dvae import ready_dvae
    from dalle.rerank import load_reranker, score

    given, out, results = snakemake.input, snakemake.output, Path(snakemake.input.dvae).parents[1]
    dvae, reranker = ready_dvae(results / "dvae"), load_reranker(Rerank(**snakemake.params.settings), results)
    for suite, prompts in zip(snakemake.params.suites, given.prompts, strict=True):
        score(given[suite], prompts, out[suite], dvae, reranker)

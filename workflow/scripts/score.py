"""Scores candidates against their captions."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from dalle.rerank import score

    given, size = snakemake.input, snakemake.params.batch_size
    dvae, clip = Path(given.dvae).parent, Path(given.clip).parent
    for suite, prompts in zip(snakemake.params.suites, given.prompts, strict=True):
        score(given[suite], dvae, clip, given.tokenizer, prompts, snakemake.output[suite], size)

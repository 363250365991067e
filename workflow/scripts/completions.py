"""Pictures whose lower half is drawn."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from dalle.completions import write_completions
    from dalle.config.sampling import Sampling

    given, settings = snakemake.input, Sampling(**snakemake.params.settings)
    prior, dvae = Path(given.prior).parent, Path(given.dvae).parent
    write_completions(given.archive, prior, given.tokenizer, dvae, snakemake.output[0], settings, snakemake.params.seed)

"""Every metric of every system, suite, N, blur radius and reference."""

from dalle.joblog import job

with job(snakemake):
    from eval.shown import Shown
    from eval.sweep import Rules, write_metrics
    from eval.tables import in_brief

    given, params, made = snakemake.input, snakemake.params, snakemake.output
    shown = Shown.read(given.features, given.selections, given.image_scores, given.overlap)
    rules, jobs = Rules(**params.rules), snakemake.threads
    write_metrics(shown, rules, params.experiment, out=made.parquet, paired=made.differences, jobs=jobs)
    print(f"metrics: {in_brief(made.parquet)}")

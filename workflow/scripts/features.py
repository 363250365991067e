"""Extracts the features of every archive at one blur radius."""

from dalle.joblog import job_log

with job_log(snakemake.log[0]):
    from eval.features import write_features

    radius, extractor = float(snakemake.wildcards.radius), snakemake.params.extractor
    for archive, out in zip(snakemake.input, snakemake.output, strict=True):
        write_features(archive, out, radius, extractor)

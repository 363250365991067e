"""Extracts the features of every archive at one blur radius."""

from dalle.joblog import job

with job(snakemake):
    from eval.extractors import load_extractor
    from eval.features import write_features
    from eval.protocols.protocol import load_protocol

    given, params, job = snakemake.input, snakemake.params, snakemake.wildcards
    extractor = load_extractor(load_protocol(job.space), *given.weights)
    how = {"blur_protocol": load_protocol(params.blur_protocol), "radius": float(job.radius), "store": params.store}
    for archive, out in zip(given.archives, snakemake.output, strict=True):
        write_features(archive, out, extractor, **how)

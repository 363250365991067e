from dalle.listing import listing_digest


# Pictures that other programs made for the captions of one suite.
rule external:
    input:
        prompts="<results>/data/{suite}.parquet",
        given=lambda wildcards: experiment.systems[wildcards.system].files,
    output:
        pictures="<results>/systems/{system}/{suite}.parquet",
        selection="<results>/systems/{system}/{suite}.selection.parquet",
    log:
        "<results>/logs/external/{system}-{suite}.log",
    wildcard_constraints:
        # a system exists for its own suite alone; without any, nothing fits
        system="|".join(rf"{name}(?=/{settings.suite}\.)" for name, settings in experiment.systems.items()) or "(?!)",
    conda:
        "../../environment.yml"
    params:
        settings=lambda wildcards: slice_of(experiment.systems[wildcards.system]),
        listing=lambda wildcards: [listing_digest(folder) for folder in experiment.systems[wildcards.system].folders],
        code=code_of("external"),
    script:
        "../scripts/external.py"

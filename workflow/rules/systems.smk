# Every system ends as an archive of pictures for each suite, and a selection: which picture stands for which N.
rule dalle1:
    input:
        winners="<results>/winners/{suite}.parquet",
        candidates=expand("<results>/candidates/{{suite}}/{shard}/{block}.parquet", shard=SHARDS, block=BLOCKS),
        dvae="<results>/dvae/weights.safetensors",
        prompts="<results>/data/{suite}.parquet",
    output:
        pictures="<results>/systems/dalle1/{suite}.parquet",
        selection="<results>/systems/dalle1/{suite}.selection.parquet",
    log:
        "<results>/logs/dalle1/{suite}.log",
    benchmark:
        "<results>/benchmarks/dalle1/{suite}.tsv"
    conda:
        "../../environment.yml"
    params:
        code=code_of("dalle1"),
    script:
        "../scripts/dalle1.py"


rule real:
    input:
        expand("<results>/data/{suite}_real.parquet", suite=SUITES),
    output:
        pictures=expand("<results>/systems/real/{suite}.parquet", suite=SUITES),
        selections=expand("<results>/systems/real/{suite}.selection.parquet", suite=SUITES),
    log:
        "<results>/logs/real.log",
    conda:
        "../../environment.yml"
    params:
        code=code_of("real"),
    script:
        "../scripts/real.py"


rule reconstructions:
    input:
        references=expand("<results>/data/{suite}.parquet", suite=SUITES),
        dvae="<results>/dvae/weights.safetensors",
    output:
        pictures=expand("<results>/systems/{{system}}/{suite}.parquet", suite=SUITES),
        selections=expand("<results>/systems/{{system}}/{suite}.selection.parquet", suite=SUITES),
    log:
        "<results>/logs/reconstructions/{system}.log",
    wildcard_constraints:
        system="|".join(RECONSTRUCTIONS),
    conda:
        "../../environment.yml"
    params:
        weights=lambda wildcards: RECONSTRUCTIONS[wildcards.system],
        code=code_of("reconstructions"),
    script:
        "../scripts/reconstructions.py"


rule shuffled:
    input:
        pictures="<results>/systems/dalle1/{suite}.parquet",
        selection="<results>/systems/dalle1/{suite}.selection.parquet",
    output:
        pictures="<results>/systems/shuffled/{suite}.parquet",
        selection="<results>/systems/shuffled/{suite}.selection.parquet",
    log:
        "<results>/logs/shuffled/{suite}.log",
    conda:
        "../../environment.yml"
    params:
        seed=experiment.seed,
        code=code_of("shuffled"),
    script:
        "../scripts/shuffled.py"

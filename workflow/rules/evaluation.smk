# One job a radius: a new radius extracts nothing again, and a job has enough pictures to be worth its imports.
rule features:
    input:
        expand("<results>/data/{suite}.parquet", suite=SUITES),
        expand("<results>/systems/{system}/{suite}.parquet", system=PICTURED, suite=SUITES),
    output:
        expand(
            "<results>/features/{source}/{suite}/blur{{radius}}.safetensors",
            source=["reference", *PICTURED],
            suite=SUITES,
        ),
    log:
        "<results>/logs/features/blur{radius}.log",
    benchmark:
        "<results>/benchmarks/features/blur{radius}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        extractor=experiment.evaluation.extractor,
        code=code_of("features"),
    script:
        "../scripts/features.py"


# Every candidate is graded, not the winners alone: "any of the first N right" is what a perfect reranker would reach.
rule image_scores:
    input:
        references=expand("<results>/data/{suite}.parquet", suite=SUITES),
        pictures=expand("<results>/systems/{system}/{suite}.parquet", system=SYSTEMS, suite=SUITES),
        candidates=expand(
            "<results>/candidates/{suite}/{shard}/{block}.parquet", suite=SUITES, shard=SHARDS, block=BLOCKS
        ),
        scores=expand("<results>/scores/{suite}/{shard}/{block}.parquet", suite=SUITES, shard=SHARDS, block=BLOCKS),
        dvae="<results>/dvae/weights.safetensors",
    output:
        parquet="<results>/tables/image_scores.parquet",
        csv="<results>/tables/image_scores.csv",
        reader="<results>/tables/reader.json",
    log:
        "<results>/logs/image_scores.log",
    benchmark:
        "<results>/benchmarks/image_scores/all.tsv"
    conda:
        "../../environment.yml"
    params:
        code=code_of("image_scores"),
    script:
        "../scripts/image_scores.py"


rule metrics:
    input:
        features=expand(
            "<results>/features/{source}/{suite}/blur{radius}.safetensors",
            source=["reference", *PICTURED],
            suite=SUITES,
            radius=RADII,
        ),
        selections=expand("<results>/systems/{system}/{suite}.selection.parquet", system=SYSTEMS, suite=SUITES),
        image_scores="<results>/tables/image_scores.parquet",
        protocol=PROTOCOL,
    output:
        parquet="<results>/tables/metrics.parquet",
        csv="<results>/tables/metrics.csv",
    log:
        "<results>/logs/metrics.log",
    benchmark:
        "<results>/benchmarks/metrics/all.tsv"
    conda:
        "../../environment.yml"
    params:
        experiment=experiment.experiment,
        splits=experiment.evaluation.splits,
        seed=experiment.seed,
        code=code_of("metrics"),
    script:
        "../scripts/metrics.py"


rule cost:
    input:
        expand("<results>/benchmarks/{rule}/all.tsv", rule=["scenes", "dvae", "prior", "clip"]),
        expand("<results>/benchmarks/codes/{split}.tsv", split=PRIOR_SPLITS),
        expand("<results>/benchmarks/{rule}/{shard}-{block}.tsv", rule=["sample", "score"], shard=SHARDS, block=BLOCKS),
        expand("<results>/benchmarks/dalle1/{suite}.tsv", suite=SUITES),
        expand("<results>/benchmarks/features/blur{radius}.tsv", radius=RADII),
        expand("<results>/benchmarks/{rule}/all.tsv", rule=["image_scores", "metrics"]),
    output:
        parquet="<results>/tables/cost.parquet",
        csv="<results>/tables/cost.csv",
    log:
        "<results>/logs/cost.log",
    conda:
        "../../environment.yml"
    params:
        code=code_of("cost"),
    script:
        "../scripts/cost.py"

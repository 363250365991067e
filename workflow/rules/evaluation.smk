# One job a space and radius: a new radius extracts nothing again, and a job has enough pictures to be worth its imports.
rule features:
    input:
        archives=[archive_of(*place) for place in SOURCES],
        weights=lambda wildcards: given_weights(PROTOCOLS[wildcards.space].network),
    output:
        [f"<results>/features/{{space}}/{source}/{suite}/blur{{radius}}.safetensors" for source, suite in SOURCES],
    log:
        "<results>/logs/features/{space}-blur{radius}.log",
    benchmark:
        "<results>/benchmarks/features/{space}-blur{radius}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        space=lambda wildcards: PROTOCOLS[wildcards.space].meaning,
        blur=PROTOCOLS[BLUR].meaning,
        blur_protocol=BLUR,
        store=untracked("results/feature-store"),
        code=code_of("features"),
    script:
        "../scripts/features.py"


rule agreement:
    input:
        archives=[archive_of(*place) for place in SAYINGS],
        clip="<results>/clip/weights.safetensors",
        tokenizer="<results>/tokenizer/tokenizer.json",
        weights=[path for label in of_family(ClipProtocol) for path in given_weights(PROTOCOLS[label].model)],
    output:
        "<results>/agreement/all.parquet",
    log:
        "<results>/logs/agreement.log",
    benchmark:
        "<results>/benchmarks/agreement/all.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        protocols=of_family(ClipProtocol),
        rules=[PROTOCOLS[label].meaning for label in of_family(ClipProtocol)],
        weights=experiment.evaluation.weights,
        code=code_of("agreement"),
    script:
        "../scripts/agreement.py"


# Of scenes every candidate is graded, not the winners alone: "any of the first N right" is what a perfect reranker would
# reach. Nobody knows what is in a photograph, so there nothing is graded.
rule image_scores:
    input:
        references=expand("<results>/data/{suite}.parquet", suite=SUITES),
        pictures=[archive_of(*place) for place in SAYINGS],
        agreement="<results>/agreement/all.parquet",
        candidates=expand(
            "<results>/candidates/{suite}/{shard}/{block}.parquet",
            suite=SUITES if IS_OF_SCENES else [],
            shard=SHARDS,
            block=BLOCKS,
        ),
        scores=expand("<results>/scores/{suite}/{shard}/{block}.parquet", suite=SUITES, shard=SHARDS, block=BLOCKS),
        dvae="<results>/dvae/weights.safetensors",
    output:
        parquet="<results>/tables/image_scores.parquet",
        csv="<results>/tables/image_scores.csv",
        reader=["<results>/tables/reader.json"] if IS_OF_SCENES else [],
    log:
        "<results>/logs/image_scores.log",
    benchmark:
        "<results>/benchmarks/image_scores/all.tsv"
    conda:
        "../../environment.yml"
    params:
        reranker=experiment.rerank.model,
        code=code_of("image_scores"),
    script:
        "../scripts/image_scores.py"


rule metrics:
    input:
        features=[
            f"<results>/features/{space}/{source}/{suite}/blur{radius}.safetensors"
            for (source, suite), space, radius in product(SOURCES, SPACES, RADII)
        ],
        selections=[f"<results>/systems/{system}/{suite}.selection.parquet" for system, suite in ANSWERS],
        image_scores="<results>/tables/image_scores.parquet",
        overlap="<results>/data/overlap.parquet",
    output:
        parquet="<results>/tables/metrics.parquet",
        csv="<results>/tables/metrics.csv",
        differences="<results>/tables/differences.parquet",
        differences_csv="<results>/tables/differences.csv",
    log:
        "<results>/logs/metrics.log",
    benchmark:
        "<results>/benchmarks/metrics/all.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    params:
        rules={
            "protocols": ASKED,
            "blur_protocol": BLUR,
            "replicates": experiment.evaluation.replicates,
            "seed": experiment.seed,
        },
        meaning=[protocol.meaning for protocol in PROTOCOLS.values()],
        experiment=experiment.experiment,
        code=code_of("metrics"),
    script:
        "../scripts/metrics.py"


rule cost:
    input:
        expand("<results>/benchmarks/{rule}/all.tsv", rule=[WORLD, "dvae", "prior", "clip"]),
        [] if IS_OF_SCENES else ["<results>/benchmarks/overlap/all.tsv"],
        expand("<results>/benchmarks/codes/{split}.tsv", split=PRIOR_SPLITS),
        expand("<results>/benchmarks/{rule}/{shard}-{block}.tsv", rule=["sample", "score"], shard=SHARDS, block=BLOCKS),
        expand("<results>/benchmarks/dalle1/{suite}.tsv", suite=SUITES),
        expand("<results>/benchmarks/features/{space}-blur{radius}.tsv", space=SPACES, radius=RADII),
        expand("<results>/benchmarks/{rule}/all.tsv", rule=["agreement", "image_scores", "metrics"]),
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

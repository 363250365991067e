from dalle.listing import listing_digest

OVERLAP = experiment.data.overlap
UNSEEN_BY_PICTURES = ["workers", "overlap"]


# What is not there is no input: the job itself says what is missing, and how to get it.
rule photographs:
    input:
        given=[file for file in experiment.data.files if Path(file).exists()],
    output:
        train="<results>/data/train.parquet",
        uncaptioned="<results>/data/uncaptioned.parquet",
        suites=expand("<results>/data/{suite}.parquet", suite=SUITES),
        references=expand(REFERENCE, suite=SUITES),
        real=expand("<results>/data/{suite}_real.parquet", suite=SUITES),
        captions="<results>/data/captions.parquet",
        prompts="<results>/data/prompts.csv",
        report="<results>/data/report.json",
    log:
        "<results>/logs/photographs.log",
    benchmark:
        "<results>/benchmarks/photographs/all.tsv"
    conda:
        "../../environment.yml"
    threads: experiment.data.workers
    params:
        settings=slice_of(experiment.data, without=UNSEEN_BY_PICTURES),
        unseen=untracked({"workers": experiment.data.workers}),
        listing=lambda wildcards: [listing_digest(folder) for folder in experiment.data.folders],
        seed=experiment.seed,
        code=code_of("photographs"),
    script:
        "../scripts/photographs.py"


# The photographs that the captions were written about: what agreement with a caption can be at best.
rule original:
    input:
        expand("<results>/data/{suite}.parquet", suite=SUITES),
    output:
        pictures=expand("<results>/systems/original/{suite}.parquet", suite=SUITES),
        selections=expand("<results>/systems/original/{suite}.selection.parquet", suite=SUITES),
    log:
        "<results>/logs/original.log",
    conda:
        "../../environment.yml"
    params:
        code=code_of("real"),
    script:
        "../scripts/real.py"


rule overlap:
    input:
        references=expand(REFERENCE, suite=SUITES),
        training=expand("<results>/data/{split}.parquet", split=["train", "uncaptioned"]),
        reranker=reranker_files() if OVERLAP.embedding == "clip" else [],
    output:
        overlap="<results>/data/overlap.parquet",
        pairs="<results>/data/overlap_pairs.csv",
        report="<results>/data/overlap.json",
        sheet="<results>/figures/overlap.png",
    log:
        "<results>/logs/overlap.log",
    benchmark:
        "<results>/benchmarks/overlap/all.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    params:
        settings=slice_of(OVERLAP),
        rerank=slice_of(experiment.rerank),
        suites=SUITES,
        code=code_of("overlap"),
    script:
        "../scripts/overlap.py"


rule data_report:
    input:
        report="<results>/data/report.json",
        captions="<results>/data/captions.parquet",
        overlap="<results>/data/overlap.json",
        pairs="<results>/data/overlap_pairs.csv",
        tokenizer="<results>/tokenizer/tokenizer.json",
    output:
        parquet="<results>/tables/data.parquet",
        csv="<results>/tables/data.csv",
        figure="<results>/figures/data.png",
    log:
        "<results>/logs/data_report.log",
    conda:
        "../../environment.yml"
    params:
        context=experiment.tokenizer.context,
        code=code_of("data_report"),
    script:
        "../scripts/data_report.py"

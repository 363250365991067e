# One job writes a trained model's whole folder, so rules that use the model name its weights alone.
# Stages that learn get one thread where two of them can run side by side: on two cores that is faster than turns. Their
# priority is higher, because everything waits for the chain dvae → codes → prior.
rule dvae:
    input:
        train="<results>/data/train.parquet",
        uncaptioned="<results>/data/uncaptioned.parquet",
        imported=imported_dvae(),
    output:
        weights="<results>/dvae/weights.safetensors",
        start="<results>/dvae/start.safetensors",
        model="<results>/dvae/model.json",
        curve="<results>/dvae/log.csv",
    log:
        "<results>/logs/dvae.log",
    benchmark:
        "<results>/benchmarks/dvae/all.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=slice_of(experiment.dvae),
        seed=experiment.seed,
        code=code_of("dvae"),
    script:
        "../scripts/dvae.py"


rule codes:
    input:
        pictures="<results>/data/{split}.parquet",
        dvae="<results>/dvae/weights.safetensors",
    output:
        "<results>/codes/{split}.npy",
    log:
        "<results>/logs/codes/{split}.log",
    benchmark:
        "<results>/benchmarks/codes/{split}.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    params:
        store=untracked("results/code-store"),
        code=code_of("codes"),
    script:
        "../scripts/codes.py"


rule prior:
    input:
        archives=expand("<results>/data/{split}.parquet", split=PRIOR_SPLITS),
        codes=expand("<results>/codes/{split}.npy", split=PRIOR_SPLITS),
        tokenizer="<results>/tokenizer/tokenizer.json",
    output:
        weights="<results>/prior/weights.safetensors",
        model="<results>/prior/model.json",
        curve="<results>/prior/log.csv",
    log:
        "<results>/logs/prior.log",
    benchmark:
        "<results>/benchmarks/prior/all.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        gpu=1,
    params:
        settings=slice_of(experiment.prior, without=["uncaptioned"]),
        context=experiment.tokenizer.context,
        codes_k=experiment.dvae.codes,
        seed=experiment.seed,
        code=code_of("prior"),
    script:
        "../scripts/prior.py"


rule clip:
    input:
        train="<results>/data/train.parquet",
        tokenizer="<results>/tokenizer/tokenizer.json",
    output:
        weights="<results>/clip/weights.safetensors",
        model="<results>/clip/model.json",
        curve="<results>/clip/log.csv",
        report="<results>/clip/report.json",
    log:
        "<results>/logs/clip.log",
    benchmark:
        "<results>/benchmarks/clip/all.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=slice_of(experiment.clip),
        context=experiment.tokenizer.context,
        seed=experiment.seed,
        code=code_of("clip"),
    script:
        "../scripts/clip.py"


# A job takes a shard of every suite's captions and one block of candidates: fewer jobs, fewer imports of torch.
rule sample:
    input:
        **{suite: f"<results>/data/{suite}.parquet" for suite in SUITES},
        prior="<results>/prior/weights.safetensors",
        tokenizer="<results>/tokenizer/tokenizer.json",
    output:
        **{suite: f"<results>/candidates/{suite}/{{shard}}/{{block}}.parquet" for suite in SUITES},
    log:
        "<results>/logs/sample/{shard}-{block}.log",
    benchmark:
        "<results>/benchmarks/sample/{shard}-{block}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=slice_of(experiment.sampling, without=UNSEEN_BY_CANDIDATES),
        unseen=untracked({name: getattr(experiment.sampling, name) for name in UNSEEN_BY_CANDIDATES}),
        suites=SUITES,
        seed=experiment.seed,
        code=code_of("sample"),
    script:
        "../scripts/sample.py"


rule score:
    input:
        **{suite: f"<results>/candidates/{suite}/{{shard}}/{{block}}.parquet" for suite in SUITES},
        prompts=expand("<results>/data/{suite}.parquet", suite=SUITES),
        dvae="<results>/dvae/weights.safetensors",
        reranker=reranker_files(),
    output:
        **{suite: f"<results>/scores/{suite}/{{shard}}/{{block}}.parquet" for suite in SUITES},
    log:
        "<results>/logs/score/{shard}-{block}.log",
    benchmark:
        "<results>/benchmarks/score/{shard}-{block}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=slice_of(experiment.rerank),
        suites=SUITES,
        code=code_of("score"),
    script:
        "../scripts/score.py"


rule winners:
    input:
        expand("<results>/scores/{{suite}}/{shard}/{block}.parquet", shard=SHARDS, block=BLOCKS),
    output:
        "<results>/winners/{suite}.parquet",
    log:
        "<results>/logs/winners/{suite}.log",
    conda:
        "../../environment.yml"
    params:
        n_candidates=list(experiment.sampling.n_candidates),
        code=code_of("winners"),
    script:
        "../scripts/winners.py"

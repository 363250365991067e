rule tokenizer:
    input:
        train="<results>/data/train.parquet",
    output:
        "<results>/tokenizer/tokenizer.json",
    log:
        "<results>/logs/tokenizer.log",
    conda:
        "../../environment.yml"
    params:
        settings=slice_of(experiment.tokenizer),
        code=code_of("tokenizer"),
    script:
        "../scripts/tokenizer.py"

rule scenes:
    output:
        train="<results>/data/train.parquet",
        uncaptioned="<results>/data/uncaptioned.parquet",
        suites=expand("<results>/data/{suite}.parquet", suite=SUITES),
        real=expand("<results>/data/{suite}_real.parquet", suite=SUITES),
        overlap="<results>/data/overlap.parquet",
        report="<results>/data/report.json",
    log:
        "<results>/logs/scenes.log",
    benchmark:
        "<results>/benchmarks/scenes/all.tsv"
    conda:
        "../../environment.yml"
    params:
        settings=slice_of(experiment.data),
        seed=experiment.seed,
        code=code_of("scenes"),
    script:
        "../scripts/scenes.py"

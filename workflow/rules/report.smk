rule plot_figure9:
    input:
        "<results>/tables/metrics.parquet",
    output:
        "<results>/figures/figure9.png",
    log:
        "<results>/logs/plot_figure9.log",
    conda:
        "../../environment.yml"
    params:
        protocols=ASKED,
        code=code_of("plot_figure9"),
    script:
        "../scripts/plot_figure9.py"


rule plot_candidates:
    input:
        "<results>/tables/metrics.parquet",
    output:
        "<results>/figures/candidates.png",
    log:
        "<results>/logs/plot_candidates.log",
    conda:
        "../../environment.yml"
    params:
        protocols=ASKED,
        code=code_of("plot_candidates"),
    script:
        "../scripts/plot_candidates.py"


rule plot_training:
    input:
        dvae="<results>/dvae/log.csv",
        prior="<results>/prior/log.csv",
        clip="<results>/clip/log.csv",
    output:
        "<results>/figures/training.png",
    log:
        "<results>/logs/plot_training.log",
    conda:
        "../../environment.yml"
    params:
        code=code_of("plot_training"),
    script:
        "../scripts/plot_training.py"


rule sample_grid:
    input:
        real=f"<results>/systems/{TRUE}/{{suite}}.parquet",
        pictures="<results>/systems/dalle1/{suite}.parquet",
        selection="<results>/systems/dalle1/{suite}.selection.parquet",
        image_scores="<results>/tables/image_scores.parquet",
    output:
        "<results>/figures/samples_{suite}.png",
    log:
        "<results>/logs/sample_grid/{suite}.log",
    conda:
        "../../environment.yml"
    params:
        code=code_of("sample_grid"),
    script:
        "../scripts/sample_grid.py"


rule reconstruction_grid:
    input:
        reference="<results>/data/val.parquet",
        start="<results>/systems/dvae_start/val.parquet",
        trained="<results>/systems/dvae/val.parquet",
    output:
        "<results>/figures/reconstructions.png",
    log:
        "<results>/logs/reconstruction_grid.log",
    conda:
        "../../environment.yml"
    params:
        code=code_of("reconstruction_grid"),
    script:
        "../scripts/reconstruction_grid.py"


rule headline:
    input:
        metrics="<results>/tables/metrics.parquet",
        clip_report="<results>/clip/report.json",
        data_report="<results>/data/report.json",
        overlap="<results>/data/overlap.parquet",
    output:
        "<results>/headline.txt",
    log:
        "<results>/logs/headline.log",
    conda:
        "../../environment.yml"
    params:
        protocols=ASKED,
        code=code_of("headline"),
    script:
        "../scripts/headline.py"


# The runs that `mlflow ui` shows. They are a copy: delete mlflow.db, mlruns and this rule's output to have them anew.
rule mirror:
    input:
        "<results>/headline.txt",
        "<results>/provenance.json",
        expand("<results>/tables/{table}.parquet", table=["metrics", "differences", "image_scores", "cost"]),
        expand("<results>/{stage}/log.csv", stage=["dvae", "prior", "clip"]),
        FIGURES,
    output:
        "<results>/mlflow.json",
    log:
        "<results>/logs/mirror.log",
    conda:
        "../../environment.yml"
    params:
        settings=slice_of(experiment),
        code=code_of("mirror"),
    script:
        "../scripts/mirror.py"

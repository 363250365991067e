from dalle.provenance import ROOT, file_digest

# What the trained stages take in: units, and how many of them an example has.
STAGES = {
    "dvae": ("pictures", 1),
    "prior": ("tokens", experiment.tokenizer.context + experiment.grid**2),
    "clip": ("pictures with captions", 1),
}
OF_PHOTOGRAPHS = {
    "data_table": "<results>/tables/data.csv",
    "data_figure": "<results>/figures/data.png",
    "overlap_sheet": "<results>/figures/overlap.png",
}


report: "../report/workflow.rst"


rule plot_figure9:
    input:
        "<results>/tables/metrics.parquet",
    output:
        report("<results>/figures/figure9.png", caption="../report/figure9.rst", category="Figures"),
        "<results>/figures/figure9.svg",
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
        report("<results>/figures/candidates.png", caption="../report/candidates.rst", category="Figures"),
        "<results>/figures/candidates.svg",
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
        report("<results>/figures/training.png", caption="../report/training.rst", category="Figures"),
        "<results>/figures/training.svg",
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
        report("<results>/figures/samples_{suite}.png", caption="../report/samples.rst", category="Pictures"),
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
        report("<results>/figures/reconstructions.png", caption="../report/reconstructions.rst", category="Pictures"),
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
        report("<results>/headline.txt", caption="../report/headline.rst", category="Results"),
    log:
        "<results>/logs/headline.log",
    conda:
        "../../environment.yml"
    params:
        protocols=ASKED,
        code=code_of("headline"),
    script:
        "../scripts/headline.py"


# Pictures whose upper half is real and whose lower half is drawn.
rule completions:
    input:
        archive="<results>/data/val.parquet",
        prior="<results>/prior/weights.safetensors",
        tokenizer="<results>/tokenizer/tokenizer.json",
        dvae="<results>/dvae/weights.safetensors",
    output:
        "<results>/completions/val.parquet",
    log:
        "<results>/logs/completions.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=slice_of(experiment.sampling, without=[*UNSEEN_BY_CANDIDATES, "shards", "block"]),
        seed=experiment.seed,
        code=code_of("completions"),
    script:
        "../scripts/completions.py"


rule throughput:
    input:
        cost="<results>/tables/cost.parquet",
        logs=expand("<results>/{stage}/log.csv", stage=STAGES),
        coded=expand("<results>/data/{split}.parquet", split=PRIOR_SPLITS),
        candidates=expand(
            "<results>/candidates/{suite}/{shard}/{block}.parquet", suite=SUITES, shard=SHARDS, block=BLOCKS
        ),
    output:
        parquet="<results>/tables/throughput.parquet",
        csv="<results>/tables/throughput.csv",
    log:
        "<results>/logs/throughput.log",
    conda:
        "../../environment.yml"
    params:
        stages={
            stage: {
                "batch_size": getattr(experiment, stage).optimisation.batch_size,
                "unit": unit,
                "units_an_example": units,
            }
            for stage, (unit, units) in STAGES.items()
        },
        code=code_of("throughput"),
    script:
        "../scripts/throughput.py"


# Everything on one page.
rule report:
    input:
        **({} if IS_OF_SCENES else OF_PHOTOGRAPHS),
        metrics="<results>/tables/metrics.parquet",
        image_scores="<results>/tables/image_scores.parquet",
        cost="<results>/tables/cost.parquet",
        throughput="<results>/tables/throughput.parquet",
        verdicts="<results>/tables/human.parquet",
        verdicts_text="<results>/human.txt",
        clip_report="<results>/clip/report.json",
        data_report="<results>/data/report.json",
        overlap="<results>/data/overlap.parquet",
        figure9="<results>/figures/figure9.svg",
        candidates="<results>/figures/candidates.svg",
        training="<results>/figures/training.svg",
        human="<results>/figures/human.svg",
        logs=expand("<results>/{stage}/log.csv", stage=STAGES),
        real=expand("<results>/systems/{system}/{suite}.parquet", system=TRUE, suite=SUITES),
        pictures=expand("<results>/systems/dalle1/{suite}.parquet", suite=SUITES),
        selections=expand("<results>/systems/dalle1/{suite}.selection.parquet", suite=SUITES),
        reference="<results>/data/val.parquet",
        dvae_start="<results>/systems/dvae_start/val.parquet",
        dvae="<results>/systems/dvae/val.parquet",
        completions="<results>/completions/val.parquet",
        provenance="<results>/provenance.json",
    output:
        report("<results>/report.html", caption="../report/report.rst", category="Results"),
    log:
        "<results>/logs/report.log",
    conda:
        "../../environment.yml"
    params:
        settings=slice_of(experiment),
        templates=[file_digest(file) for file in sorted((ROOT / "eval/report").glob("pa*")) if file.suffix != ".py"],
        code=code_of("report"),
    script:
        "../scripts/report.py"


# The runs that `mlflow ui` shows. They are a copy: delete mlflow.db, mlruns and this rule's output to have them anew.
rule mirror:
    input:
        "<results>/headline.txt",
        "<results>/human.txt",
        "<results>/report.html",
        "<results>/provenance.json",
        expand("<results>/tables/{table}.parquet", table=["metrics", "differences", "image_scores", "cost", "human"]),
        expand("<results>/{stage}/{file}", stage=STAGES, file=["log.csv", "model.json", "weights.safetensors"]),
        expand("<results>/data/{split}.parquet", split=[*PRIOR_SPLITS, *SUITES]),
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

from dalle.provenance import ROOT, file_digest

CHECKS = [TRUE, "shuffled"]


# What people get, and apart from it who is who. Checks are real pictures against ours under wrong captions.
rule human_tasks:
    input:
        pictures=lambda wildcards: expand(
            "<results>/systems/{system}/val.parquet", system=sides(wildcards.pair) + CHECKS
        ),
        selections=lambda wildcards: expand(
            "<results>/systems/{system}/val.selection.parquet", system=sides(wildcards.pair) + CHECKS
        ),
    output:
        page="<results>/human/{pair}/public/index.html",
        tasks="<results>/human/{pair}/public/tasks.csv",
        key="<results>/human/{pair}/key.csv",
        study="<results>/human/{pair}/study.json",
    log:
        "<results>/logs/human_tasks/{pair}.log",
    conda:
        "../../environment.yml"
    params:
        sides=lambda wildcards: PAIRS[wildcards.pair] + [(system, None) for system in CHECKS],
        folder=subpath(output.key, parent=True),
        settings=slice_of(experiment.human, without=["comparisons", "questionnaire", "votes", "panel"]),
        questionnaire=slice_of(QUESTIONNAIRE),
        seed=experiment.seed,
        templates=[file_digest(file) for file in sorted((ROOT / "eval/human").glob("*.j2"))],
        code=code_of("human_tasks"),
    script:
        "../scripts/human_tasks.py"


# Votes may come at any time, or never: without any, the text says that they are waited for.
rule human_report:
    input:
        studies=expand("<results>/human/{pair}/study.json", pair=PAIRS),
        key=expand("<results>/human/{pair}/key.csv", pair=PAIRS),
        votes=[file for pair in PAIRS for file in votes_of(pair)],
    output:
        text="<results>/human.txt",
        figure=report("<results>/figures/human.png", caption="../report/human.rst", category="Figures"),
        svg="<results>/figures/human.svg",
        tables=expand(
            "<results>/tables/human{table}.parquet", table=["", "_histogram", "_ranking", "_raters", "_rejected"]
        ),
        sheets=expand("<results>/tables/human{table}.csv", table=["", "_histogram", "_ranking", "_raters", "_rejected"]),
    log:
        "<results>/logs/human_report.log",
    conda:
        "../../environment.yml"
    params:
        pairs=list(PAIRS),
        votes={pair: votes_of(pair) for pair in PAIRS},
        places={pair: place_of_votes(pair) for pair in PAIRS},
        panel=slice_of(experiment.human.panel),
        seed=experiment.seed,
        code=code_of("human_report"),
    script:
        "../scripts/human_report.py"

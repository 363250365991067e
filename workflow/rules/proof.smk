from dalle.verify.texts import text_digest

QUESTIONS = experiment.human.questionnaire
# What numbers and pages follow from beside settings and code, relative to the project's root.
TEXTS = [
    *sorted({f"eval/protocols/{label.partition('@')[0]}.yaml" for label in PROTOCOLS}),
    QUESTIONS if QUESTIONS.endswith(".yaml") else f"eval/human/questionnaires/{QUESTIONS}.yaml",
    *sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "eval/human").glob("*.j2")),
]


# The record of all jobs behind the tables, figures and pages, which are the ends of the graph: the rest leads to them.
rule provenance:
    input:
        "<results>/headline.txt",
        "<results>/human.txt",
        FIGURES,
        expand(
            "<results>/tables/{table}.parquet", table=["metrics", "differences", "image_scores", "cost", "throughput"]
        ),
        "<results>/completions/val.parquet",
        expand("<results>/human/{pair}/public/index.html", pair=PAIRS),
    output:
        "<results>/provenance.json",
    log:
        "<results>/logs/provenance.log",
    conda:
        "../../environment.yml"
    params:
        settings=slice_of(experiment),
        texts={name: text_digest(name) for name in TEXTS},
        code=code_of("provenance"),
    script:
        "../scripts/provenance.py"

from snakemake.utils import min_version

min_version("9.27")


# Snakemake merges a --configfile into the default one. Ours stand alone: nothing of scenes.yaml leaks into another.
if not workflow.overwrite_configfiles:

    configfile: "workflow/config/scenes.yaml"


include: "workflow/rules/common.smk"


pathvars:
    results=f"results/{experiment.experiment}",


wildcard_constraints:
    suite="|".join(SUITES),
    split="train|uncaptioned",
    shard=r"\d+",
    block=r"\d+",
    radius="|".join(map(re.escape, RADII)),
    space="|".join(map(re.escape, SPACES)),
    pair="|".join(PAIRS),


include: f"workflow/rules/{WORLD}.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/dalle1.smk"
include: "workflow/rules/systems.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/human.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/proof.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        "<results>/headline.txt",
        "<results>/provenance.json",
        "<results>/mlflow.json",
        "<results>/report.html",
        expand("<results>/human/{pair}/public/index.html", pair=PAIRS),
        "<results>/human.txt",


onstart:
    pass_sigterm_on()


onsuccess:
    print(closing_words())


logger.addHandler(LastWords())

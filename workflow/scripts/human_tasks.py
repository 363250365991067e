"""What people are shown of a comparison."""

from dalle.joblog import job

with job(snakemake):
    from dalle.config.human import Human
    from eval.human.pictures import Contestant
    from eval.human.questionnaire import Questionnaire
    from eval.human.study import write_study

    given, params = snakemake.input, snakemake.params
    sides = zip(params.sides, given.pictures, given.selections, strict=True)
    first, second, *gold = (Contestant(system, *paths, n) for (system, n), *paths in sides)
    asked, settings = Questionnaire(**params.questionnaire), Human(**params.settings)
    write_study((first, second), tuple(gold), params.folder, settings, asked, params.seed)

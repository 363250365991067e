"""Grades every picture."""

from dalle.joblog import job

with job(snakemake):
    from pathlib import Path

    from eval.grounding import write_image_scores

    given = snakemake.input
    archives = {"references": given.references, "pictures": given.pictures, "agreement": given.agreement}
    codes = {"candidates": given.candidates, "scores": given.scores, "dvae_folder": Path(given.dvae).parent}
    write_image_scores(**archives, **codes, reranker=snakemake.params.reranker, out=snakemake.output.parquet)

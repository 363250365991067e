"""Everything that makes an image. Never imports eval, mlflow or snakemake."""

"""Every setting of an experiment: its type, unit, default and meaning. No torch: Snakemake reads it at every parse."""

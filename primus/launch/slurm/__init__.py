"""Training as a batch job of SLURM: what to ask for, the script, its submission, and the record of it."""

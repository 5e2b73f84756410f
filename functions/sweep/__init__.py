"""The `sweep` function: one front door per cloud, nothing else."""

"""The `drop` function: one front door per cloud, nothing else."""

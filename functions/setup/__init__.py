"""The `setup` function: one front door per cloud, nothing else."""

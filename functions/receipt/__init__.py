"""The `receipt` function: one front door per cloud, nothing else."""

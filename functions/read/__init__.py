"""The `read` function: one front door per cloud, nothing else."""

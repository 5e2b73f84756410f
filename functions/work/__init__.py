"""The `work` function: one front door per cloud, nothing else."""

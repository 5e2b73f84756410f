"""The `move` function: one front door per cloud, nothing else."""

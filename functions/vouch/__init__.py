"""The `vouch` function: one front door per cloud, nothing else."""

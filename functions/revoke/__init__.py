"""The `revoke` function: one front door per cloud, nothing else."""

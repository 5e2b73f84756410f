"""The `announce` function: one front door per cloud, nothing else."""

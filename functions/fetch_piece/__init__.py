"""The `fetch_piece` function: one front door per cloud, nothing else."""

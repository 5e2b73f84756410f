"""Front doors: one folder per function, one file per cloud, nothing else (see README.md here)."""

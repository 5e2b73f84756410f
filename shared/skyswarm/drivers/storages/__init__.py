"""Where users' bytes live: one file or group of files per kind of storage."""

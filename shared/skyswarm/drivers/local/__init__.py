"""One machine: SQLite for records, files for keys, and what an ordinary process needs."""

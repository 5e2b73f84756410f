"""Everything in this process's memory: for tests, and the plainest reading of what the ports promise."""

"""Several workers: who they are, what they share, and who reads the clips."""

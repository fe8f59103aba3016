"""Several processes and their keeper."""

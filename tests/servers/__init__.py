"""Real servers that tests and benches start on loopback and stop by their own process ids."""

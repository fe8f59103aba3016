"""Connections: dialling, sessions that run pipelines of transactions, and the pool of idle ones."""

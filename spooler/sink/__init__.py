"""`spooler sink`: an LMTP server for demos, tests and benches, with scripted faults."""

"""spooler: a durable spool drained over LMTP, with a result for every recipient."""

"""Ways into the spool: message files today, listeners later. Normalises, validates, enqueues."""

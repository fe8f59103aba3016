"""From claims to settled results: claimer, lanes with their sessions, settler, heartbeat."""

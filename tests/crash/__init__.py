"""Workers that are killed: nothing is lost, and what came twice was known to be uncertain."""

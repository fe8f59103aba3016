"""Pure decisions: time and chance come in as arguments, nothing here does I/O or keeps a clock."""

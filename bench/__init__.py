"""Measurements of spooler that anyone can repeat, and the demonstration."""

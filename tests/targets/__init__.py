"""The product as a person runs it, against real servers."""

"""Tasks on Twisted's reactor."""

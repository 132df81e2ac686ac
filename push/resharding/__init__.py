"""Changing the list of Redis servers: everything moves to where it belongs (design, rule 12)."""

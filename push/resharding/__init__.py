"""Another list of Redis servers: everything moves to where it belongs (architecture, rule 12)."""

"""Settings: what there is, where they come from, and their checks."""

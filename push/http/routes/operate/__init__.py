"""For operators: what they watch, and what they manage."""

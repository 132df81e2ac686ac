"""Routes that operators use."""

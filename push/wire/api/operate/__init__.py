"""Bodies and answers of the routes that operators use."""

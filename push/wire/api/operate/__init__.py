"""Bodies and answers of the routes for operators."""

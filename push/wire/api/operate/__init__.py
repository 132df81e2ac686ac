"""Bodies and answers of what operators do."""

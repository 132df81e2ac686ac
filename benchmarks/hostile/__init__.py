"""Hostile clients, and what others notice of them: `python -m benchmarks.hostile`."""

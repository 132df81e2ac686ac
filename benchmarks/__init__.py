"""How fast push-universe is, beside others and beside what is possible: `python -m benchmarks`."""

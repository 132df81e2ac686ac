"""The benchmarks, one a module: what it is called and measures, its tables, and its run."""

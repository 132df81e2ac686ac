"""The operator's console: a page at `/` and its files, which ask the routes that all use."""

"""The Redis server that a daemon starts for itself."""

"""A connection to Redis that is kept up: to one server, or to the master that sentinels name."""

"""What the daemons count, for Prometheus. Read when asked for; nothing is kept twice."""

"""The process: its folder, locks, logs, listeners and signals."""

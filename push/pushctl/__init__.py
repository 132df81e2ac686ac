"""The command line: a device in the terminal, and the HTTP API."""

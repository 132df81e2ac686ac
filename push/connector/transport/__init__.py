"""Bytes: connections, the PROXY header, and when idle ones end."""

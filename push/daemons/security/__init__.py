"""Certificates, API keys and JWT keys, as files and settings give them."""

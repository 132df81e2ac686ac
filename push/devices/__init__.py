"""Devices: their tokens and secrets, users and sessions."""

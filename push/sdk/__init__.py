"""Clients: `push.sdk.aio` for devices, `push.sdk.backend` for servers that push. No Twisted."""

"""The client of a device without I/O: what `push.sdk.aio` and `push.sdk.nio` have in common."""

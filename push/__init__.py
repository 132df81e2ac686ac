"""A self-hosted push and messaging system. The layers are in docs; `push.wire` is the lowest."""

__version__ = "0.1.0"

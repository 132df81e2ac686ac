"""The services of a daemon: what Twisted starts in order and stops in reverse."""

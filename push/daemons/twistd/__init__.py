"""One module a command of `twistd`."""

"""The demo: one page that shows live what the system does, for `[http] demo`."""

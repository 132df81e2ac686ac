"""The device protocol as data: signals, frames, bodies, names and errors. No I/O, no Twisted."""

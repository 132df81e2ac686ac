"""The device protocol as a state machine, for both roles. No I/O, no clock, no Twisted."""

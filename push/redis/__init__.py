"""Redis as this project uses it: supervised connections, deadlines, scripts and the server's clock.

`streams` and `cluster` are built on it. txredisapi speaks the protocol; this folder adds what that
leaves to its user: reconnects that never stop, deadlines, subscribing again.
"""

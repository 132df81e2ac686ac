"""Redis as this project uses it: supervised connections, deadlines, scripts and the server's clock.

Below `streams` and `cluster`, which both stand on it. txredisapi speaks the protocol; what it
leaves to its user (reconnects that never stop, deadlines, subscribing again) is here and only here.
"""

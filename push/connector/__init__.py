"""The device gateway: the Twisted shells around `push.session`, and fan-out to them."""

"""The yardstick of the HTTP API: a Klein handler that does one Redis PUBLISH and nothing else.

    python -m benchmarks.servers.bare_klein REDIS_SOCKET

Prints its port; ends with its standard input.
"""

from __future__ import annotations

import sys

import txredisapi
from klein import Klein
from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol
from twisted.web.server import Site


class EndsWithInput(Protocol):
    """The parent closes our standard input when it is done."""

    def connectionLost(self, reason: object = None) -> None:
        reactor.stop()


def main() -> None:
    redis = txredisapi.lazyUnixConnection(sys.argv[1], charset=None, convertNumbers=False)
    app = Klein()

    @app.route("/v1/push", methods=["POST"])
    async def push(request: object) -> bytes:
        request.setResponseCode(202)
        request.setHeader(b"content-type", b"application/json")
        heard = await redis.publish("bench", request.content.read())
        return b'{"heard":%d}' % heard

    port = reactor.listenTCP(0, Site(app.resource()), interface="127.0.0.1")
    stdio.StandardIO(EndsWithInput())
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()

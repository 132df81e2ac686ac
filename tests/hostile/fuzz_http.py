"""Bytes that are nearly HTTP: whatever comes in, the answers are documented and nothing breaks.

By hand, for as long as one likes: `python -m tests.hostile.fuzz_http --minutes 60`. It prints the
seed of a case that fails, which `--seed` repeats.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from push.http.framework.access import Guards
from push.http.framework.site import LimitedSite
from push.http.routes.apps import make_sub
from push.http.server import make_site
from tests.http.conftest import Behind, Connection, keyring_of_tests, make_api_of, make_request

# What these requests may be answered with; a 500 is a fault.
ALLOWED = {100, 200, 201, 202, 204, 400, 401, 403, 404, 405, 413, 415, 422}
MAX_ECHO = 1000  # bytes of a refusal, which quotes at most 200 characters
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [ -~]*\r\n")

PUSH = {"to": {"all": True}, "data": {"text": "x"}, "ttl": 60}
REQUESTS = (
    make_request("GET", "/healthz"),
    make_request("GET", "/v1/users/anna?x=%20&cursor="),
    make_request("GET", "http://x:80/v1/topics?limit=7"),
    make_request("POST", "/v1/push", PUSH),
    make_request("POST", "/v1/push", PUSH, key=None),
    make_request("POST", "/v1/push/batch", [PUSH, {"to": 1}, [[[]]], None]),
    make_request("POST", "/v1/devices", {"platform": "p", "app": "a"}, key="app-key"),
    make_request("PUT", "/v1/users/anna/devices/03DMV9EK31WTE="),
    make_request("DELETE", "/v1/bans?ip=192.0.2.1"),
    make_request("OPTIONS", "/v1/devices", headers={"Origin": "https://a.example"}),
    b"POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer push-key\r\nContent-Type: "
    b"application/json\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n"
    b'1c;x="y"\r\n{"to":{"all":true},"data":1}\r\n0\r\nA: b\r\n\r\n',
)
# What matters to a reader of HTTP or of JSON.
WORDS = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"%", b"%2f", b"%00", b"\xff"),
    *(b"..", b"//", b"?", b"#", b"*", b"0", b"-1", b"ffffffffffffffffff", b"99999999999999999999"),
    *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"GET", b"get", b"CONNECT", b"HEAX", b"Host: y\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"X: " + b"a" * 5000 + b"\r\n"),
    *(b"[" * 40, b'{"a":' * 40, b'"', b"\\", b"\\ud800", b"1e999", b"null", b"\xc3\x28"),
)


class Target:
    """A site in memory, and what it logged as an error."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.errors: list[LogEvent] = []
        behind = Behind()
        self.site: LimitedSite = make_site(
            self.clock,
            [make_api_of(behind, self.clock), make_sub(behind, behind)],
            Guards(keyring_of_tests()),
            registry=CollectorRegistry(),
            problems=list,
        )

    def __enter__(self) -> Target:
        globalLogPublisher.addObserver(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self._note)

    def _note(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.errors.append(event)

    def answers(self, parts: list[bytes]) -> tuple[list[int], bytes]:
        """What the server sends when these come one after the other: statuses, and all of it."""
        connection = Connection(self.site, "192.0.2.7")
        for part in parts:
            if connection.open and part:
                connection.send(part)
        sent: bytes = connection.transport.value()
        connection.close()
        return [int(status) for status in _STATUS.findall(sent)], sent


def mutated(random_: random.Random, data: bytes) -> bytes:
    """A few changes: words put in, parts left out, doubled or moved, bytes turned."""
    for _ in range(random_.choice((0, 1, 1, 2, 3, 8))):
        start = random_.randrange(len(data) + 1)
        end = min(len(data), start + random_.choice((1, 2, 8, 40)))
        changes: tuple[Callable[[], bytes], ...] = (
            lambda: data[:start] + random_.choice(WORDS) + data[start:],  # noqa: B023
            lambda: data[:start] + random_.choice(WORDS) + data[end:],  # noqa: B023
            lambda: data[:start] + data[end:],  # noqa: B023
            lambda: data[:end] + data[start:],  # noqa: B023
            lambda: data[:start] + random_.randbytes(end - start) + data[end:],  # noqa: B023
        )
        data = random_.choice(changes)()
    return data


def split(random_: random.Random, data: bytes) -> list[bytes]:
    places = sorted(random_.randrange(len(data) + 1) for _ in range(random_.randrange(6)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def check(target: Target, seed: int) -> list[int]:
    """One case. Raises AssertionError; returns the statuses."""
    random_ = random.Random(seed)
    data = b"".join(
        mutated(random_, random_.choice(REQUESTS)) for _ in range(random_.randrange(1, 4))
    )
    statuses, sent = target.answers([data])
    assert set(statuses) <= ALLOWED, (seed, statuses, data)
    assert not sent or sent.startswith(b"HTTP/1."), (seed, sent[:100])
    assert b"Traceback" not in sent, (seed, sent)
    if statuses and statuses[-1] >= 400:
        *_, last = _STATUS.finditer(sent)
        refusal = sent[last.start() :]
        assert len(refusal) <= MAX_ECHO, (seed, refusal)
    again, _ = target.answers(split(random_, data))
    assert again == statuses, (seed, "where the bytes are split changes the answers", data)
    assert target.answers([make_request("GET", "/healthz")])[0] == [200], seed
    assert not target.errors, (seed, target.errors, data)
    assert target.site.connection_limits.size == 0, (seed, "a connection is left")
    return statuses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="begin with this one")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**40) if options.seed is None else options.seed
    until, count = time.monotonic() + options.minutes * 60, 0
    with Target() as target:
        while time.monotonic() < until:
            try:
                check(target, seed + count)
            except Exception:
                print(f"seed {seed + count} fails", file=sys.stderr)
                raise
            count += 1
    print(f"{count:,} cases from seed {seed}: no fault found")
    return 0


if __name__ == "__main__":
    sys.exit(main())

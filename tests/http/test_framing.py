"""Where a request begins and ends, over real sockets: what is ambiguous is refused as a problem.

Each case is bytes and the answers they get, as (status, code). After a refusal the connection takes
nothing more, so that what follows is never taken for a request of its own.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.http.conftest import Response, parse_responses
from tests.waiting import DEADLINE_SECONDS

PATIENCE_SECONDS = DEADLINE_SECONDS
OK = (200, "")
PUSHED = (202, "")
MALFORMED = (400, "malformed")
TOO_LARGE = (413, "too_large")

BODY = b'{"to":{"all":true},"data":1}'
NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def get(
    target: str = "/healthz", *headers: str, host: str = "Host: x", version: str = "1.1"
) -> bytes:
    lines = [f"GET {target} HTTP/{version}", *([host] if host else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def push(*headers: str, body: bytes = BODY, version: str = "1.1") -> bytes:
    lines = [f"POST /v1/push HTTP/{version}", "Host: x", "Authorization: Bearer push-key"]
    lines += ["Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunks(*sizes: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """The body in one chunk for each size line."""
    return b"".join(size + b"\r\n" + BODY + b"\r\n" for size in sizes) + end


LENGTH = f"Content-Length: {len(BODY)}"
SIZE = b"%x" % len(BODY)
CHUNKED = "Transfer-Encoding: chunked"

GOOD: dict[str, tuple[bytes, list[tuple[int, str]]]] = {
    "a request": (get(), [OK]),
    "two at once": (get() + get(), [OK, OK]),
    "an empty line before": (b"\r\n" + get(), [OK]),
    "an empty line between": (get() + b"\r\n" + get(), [OK, OK]),
    "empty lines": (b"\r\n" * 5 + get() + b"\r\n" * 3 + get(), [OK, OK]),
    "absolute form": (get("http://x/healthz"), [OK]),
    "absolute form, another host": (get("http://other.example:81/healthz"), [OK]),
    "absolute form, https": (get("HTTPS://other.example/healthz"), [OK]),
    "absolute form, IPv6": (get("http://[2001:db8::7]:80/healthz"), [OK]),
    "absolute form, no path": (get("http://x"), [OK]),
    "absolute form, query without path": (get("http://x?a=1"), [(422, "invalid")]),
    "absolute form, dots are not resolved": (get("http://x/a/../healthz"), [(404, "not_found")]),
    "OPTIONS *": (get("*").replace(b"GET", b"OPTIONS"), [OK]),
    "OPTIONS, absolute form without path": (get("http://x").replace(b"GET", b"OPTIONS"), [OK]),
    "HTTP/1.0 without Host": (get(host="", version="1.0"), [OK]),
    "HTTP/1.0 closes": (get(version="1.0") + get(), [OK]),
    "Connection: close": (get("/healthz", "Connection: close") + get(), [OK]),
    "Connection: close in a list": (get("/healthz", "Connection: te,close") + get(), [OK]),
    "Connection: close in a second line": (
        get("/healthz", "Connection: te", "Connection: close") + get(),
        [OK],
    ),
    "a Host with a port": (get(host="Host: x:80"), [OK]),
    "a Host with the highest port": (get(host="Host: x:65535"), [OK]),
    "a Host with zeros before the port": (get(host="Host: x:000080"), [OK]),
    "a Host with an empty port": (get(host="Host: x:"), [OK]),
    "a Host that is an address": (get(host="Host: [::1]:80"), [OK]),
    "a header without white space": (get(host="Host:x"), [OK]),
    "a header with tabs around": (get(host="Host:\t x \t"), [OK]),
    "header names in any case": (get(host="hOST: x"), [OK]),
    "a length": (push(LENGTH) + NEXT, [PUSHED, OK]),
    "a length with zeros before": (push(f"Content-Length: 0000{len(BODY)}") + NEXT, [PUSHED, OK]),
    "5,000 zeros before a length": (
        push("Content-Length: " + "0" * 5_000 + str(len(BODY))) + NEXT,
        [PUSHED, OK],
    ),
    "no body": (get("/healthz", "Content-Length: 0") + NEXT, [OK, OK]),
    "chunks": (push(CHUNKED, body=chunks(SIZE)) + NEXT, [PUSHED, OK]),
    "chunks, in capitals": (push("Transfer-Encoding: CHUNKED", body=chunks(SIZE)), [PUSHED]),
    "a chunk with an extension": (push(CHUNKED, body=chunks(SIZE + b";a=b")) + NEXT, [PUSHED, OK]),
    "a chunk's size with zeros before": (push(CHUNKED, body=chunks(b"000" + SIZE)), [PUSHED]),
    "a trailer": (push(CHUNKED, body=chunks(SIZE, end=b"0\r\nA: b\r\n\r\n")) + NEXT, [PUSHED, OK]),
    "a trailer that looks like framing": (
        push(CHUNKED, body=chunks(SIZE, end=b"0\r\nContent-Length: 900\r\n\r\n")) + NEXT,
        [PUSHED, OK],
    ),
    "a body that looks like requests": (
        push(f"Content-Length: {len(NEXT)}", body=NEXT) + NEXT,
        [(400, "malformed"), OK],  # the body is not JSON; the connection goes on
    ),
    "post is another method than POST": (
        push(LENGTH).replace(b"POST", b"post") + NEXT,
        [(405, "method_not_allowed"), OK],
    ),
    "Post is another method than POST": (
        push(LENGTH).replace(b"POST", b"Post") + NEXT,
        [(405, "method_not_allowed"), OK],
    ),
    "pOST is another method than POST": (
        push(LENGTH).replace(b"POST", b"pOST") + NEXT,
        [(405, "method_not_allowed"), OK],
    ),
    "a compressed body": (
        push(LENGTH, "Content-Encoding: gzip") + NEXT,
        [(415, "unsupported_media_type"), OK],
    ),
    "codings of a body": (
        push(LENGTH, "Content-Encoding: identity, br"),
        [(415, "unsupported_media_type")],
    ),
    "a body as it is": (push(LENGTH, "Content-Encoding: identity"), [PUSHED]),
    "a trailer without a value": (
        push(CHUNKED, body=chunks(SIZE, end=b"0\r\nA:\r\n\r\n")),
        [PUSHED],
    ),
    "a path that is not there": (get("/nope") + NEXT, [(404, "not_found"), OK]),
    "percent bytes that are no UTF-8": (get("/v1/users/%ff") + NEXT, [MALFORMED, OK]),
    "an encoded slash": (get("/v1/users/a%2Fb") + NEXT, [(422, "invalid"), OK]),
}

REFUSED: dict[str, bytes | tuple[bytes, tuple[int, str]]] = {
    "nothing of HTTP": b"GARBAGE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/3.0": get(version="3.0"),
    "http in small letters": get().replace(b"HTTP/", b"http/"),
    "a version without a digit": get(version="1."),
    "two spaces": get().replace(b"GET ", b"GET  "),
    "a tab for a space": get().replace(b"GET ", b"GET\t"),
    "a space at the end of the line": get().replace(b"1.1\r\n", b"1.1 \r\n", 1),
    "a space before the method": b" " + get(),
    "a method with a colon": get().replace(b"GET", b"G:T"),
    "a control character in the target": get("/healthz\x01"),
    "DEL in the target": get("/healthz\x7f"),
    "bytes over ASCII in the target": get("/\xe9"),
    "a fragment": get("/healthz#x"),
    "a relative target": get("healthz"),
    "a target of another scheme": get("ftp://x/healthz"),
    "a target without a host": get("http:///healthz"),
    "a target with a user": get("http://u:p@x/healthz"),
    "a target with a strange host": get("http://a|b/healthz"),
    "authority form": get("x:443").replace(b"GET", b"CONNECT"),
    "GET *": get("*"),
    "a target of 20,000 bytes": get("/" + "a" * 20_000),
    "a line without an end": b"GET /" + b"a" * 40_000,
    "no Host": get(host=""),
    "an empty Host": get(host="Host:"),
    "a Host of spaces": get(host="Host:   "),
    "two Hosts": get("/healthz", "Host: x"),
    "two other Hosts": get("/healthz", "hOsT: y"),
    "HTTP/1.0 with two Hosts": get("/healthz", "Host: y", version="1.0"),
    "a Host with a path": get(host="Host: x/y"),
    "a Host with a user": get(host="Host: u@x"),
    "two Hosts in a line": get(host="Host: x, y"),
    "a Host with bytes over ASCII": get(host="Host: \xe9"),
    "a Host with half a bracket": get(host="Host: [::1"),
    "a Host with a strange port": get(host="Host: x:8o"),
    "a Host with a port that is none": get(host="Host: x:99999999"),
    "a Host with port 65536": get(host="Host: x:65536"),
    "a Host with a port of 5,000 digits": get(host="Host: x:" + "1" * 5_000),
    "a target with a port that is none": get("http://x:99999/healthz"),
    "a trailer without a colon": push(CHUNKED, body=chunks(SIZE, end=b"0\r\nno colon\r\n\r\n")),
    "a trailer without a name": push(CHUNKED, body=chunks(SIZE, end=b"0\r\n: a\r\n\r\n")),
    "a trailer with a space in its name": push(
        CHUNKED, body=chunks(SIZE, end=b"0\r\nA b: c\r\n\r\n")
    ),
    "a folded trailer": push(CHUNKED, body=chunks(SIZE, end=b"0\r\nA: b\r\n c\r\n\r\n")),
    "a trailer with NUL": push(CHUNKED, body=chunks(SIZE, end=b"0\r\nA: b\x00\r\n\r\n")),
    "a header without a colon": get("/healthz", "no colon"),
    "a header without a name": get("/healthz", ": x"),
    "a space before the colon": get("/healthz", "Accept : x"),
    "a space in a name": get("/healthz", "Acc ept: x"),
    "a byte over ASCII in a name": get("/healthz", "Acc\xe9pt: x"),
    "a folded header": get("/healthz", "A: b", " c"),
    "a folded header, with a tab": get("/healthz", "A: b", "\tc"),
    "white space before the first header": get(host=" Host: x"),
    "NUL in a value": get("/healthz", "A: b\x00c"),
    "NUL in a name": get("/healthz", "A\x00: b"),
    "a bare CR in a value": get("/healthz", "A: b\rc"),
    "a bare CR that would begin a header": get("/healthz", "A: b\rContent-Length: 5"),
    "a bare LF in a value": get("/healthz", "A: b\nC: d"),
    "bare LFs only": get().replace(b"\r\n", b"\n"),
    "a bare LF after the request line": get().replace(b"\r\n", b"\n", 1),
    "ESC in a value": get("/healthz", "A: \x1b[2J"),
    "a header of 20,000 bytes": get("/healthz", "A: " + "b" * 20_000),
    "headers of 20,000 bytes": get("/healthz", *(f"A{n}: " + "b" * 200 for n in range(100))),
    "600 headers": get("/healthz", *(f"A: {n}" for n in range(600))),
    "length +5": push(f"Content-Length: +{len(BODY)}"),
    "length -1": push("Content-Length: -1"),
    "an empty length": push("Content-Length:"),
    "length 0x1c": push("Content-Length: 0x1c"),
    "length 28.0": push("Content-Length: 28.0"),
    "length 2_8": push("Content-Length: 2_8"),
    "length 28 28": push("Content-Length: 28 28"),
    "length 28, 28": push("Content-Length: 28, 28"),
    "digits that are none in ASCII": push("Content-Length: \xb2\xb8"),
    "one length twice": push(LENGTH, LENGTH),
    "two lengths": push(LENGTH, "Content-Length: 5"),
    "length and chunks": push(LENGTH, CHUNKED, body=chunks(SIZE)),
    "chunks and length": push(CHUNKED, LENGTH, body=chunks(SIZE)),
    "chunks twice": push(CHUNKED, CHUNKED, body=chunks(SIZE)),
    "chunks in HTTP/1.0": push(CHUNKED, body=chunks(SIZE), version="1.0"),
    "identity": push("Transfer-Encoding: identity", LENGTH),
    "gzip": push("Transfer-Encoding: gzip"),
    "gzip, chunked": push("Transfer-Encoding: gzip, chunked", body=chunks(SIZE)),
    "chunked, chunked": push("Transfer-Encoding: chunked, chunked", body=chunks(SIZE)),
    "chunked with a parameter": push("Transfer-Encoding: chunked;q=1", body=chunks(SIZE)),
    "xchunked": push("Transfer-Encoding: xchunked", body=chunks(SIZE)),
    "a vertical tab before chunked": push("Transfer-Encoding: \x0bchunked", body=chunks(SIZE)),
    "an empty coding": push("Transfer-Encoding:", body=chunks(SIZE)),
    "a chunk's size that is none": push(CHUNKED, body=chunks(b"zz")),
    "a negative chunk": push(CHUNKED, body=chunks(b"-1")),
    "a chunk's size with a sign": push(CHUNKED, body=chunks(b"+" + SIZE)),
    "a chunk's size as 0x1c": push(CHUNKED, body=chunks(b"0x1c")),
    "a chunk's size with a space": push(CHUNKED, body=chunks(b" " + SIZE)),
    "an empty chunk's size": push(CHUNKED, body=chunks(b"")),
    "a chunk's size of 5,000 digits": push(CHUNKED, body=chunks(b"1" * 5_000)),
    "a chunk longer than its size": push(CHUNKED, body=chunks(b"1")),
    "a chunk's extension with a control character": push(CHUNKED, body=chunks(SIZE + b";a=\x00")),
    "5,001 digits": (push("Content-Length: " + "9" * 5_001, body=b""), TOO_LARGE),
    "400 digits": (push("Content-Length: " + "1" * 400, body=b""), TOO_LARGE),
    "more than a MiB": (push("Content-Length: 1048577", body=b""), TOO_LARGE),
    "a chunk of 1,000 digits": (
        push(CHUNKED, body=b"f" * 1_000 + b"\r\n" + b"x" * 1_100_000),
        TOO_LARGE,
    ),
}


def exchange(port: int, pieces: Sequence[bytes], answers: int) -> list[Response]:
    """Send, read so many answers, then close our side and read whatever else there is."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while len(_complete(received)) < answers:
            data = connection.recv(65536)
            if not data:
                break
            received += data
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            received += data
    return parse_responses(received)


def _complete(received: bytes) -> list[Response]:
    """The answers of which everything is there."""
    end = 0
    while (head := received.find(b"\r\n\r\n", end)) >= 0:
        length = 0
        for line in received[end:head].split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if head + 4 + length > len(received):
            break
        end = head + 4 + length
    return parse_responses(received[:end])


def answers_of(responses: list[Response]) -> list[tuple[int, str]]:
    found = []
    for response in responses:
        code = ""
        if response.status >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            problem = json.loads(response.content)
            assert problem["status"] == response.status
            assert len(response.content) < 600
            code = problem["code"]
        found.append((response.status, code))
    return found


@pytest.mark.parametrize("name", GOOD)
@pytest_twisted.ensureDeferred
async def test_what_is_http_is_answered(port: int, name: str) -> None:
    data, expected = GOOD[name]
    assert answers_of(await deferToThread(exchange, port, [data], len(expected))) == expected


@pytest.mark.parametrize("name", REFUSED)
@pytest_twisted.ensureDeferred
async def test_what_is_ambiguous_is_refused_and_ends_the_connection(
    port: int, name: str, behind: Any
) -> None:
    case = REFUSED[name]
    data, expected = case if isinstance(case, tuple) else (case, MALFORMED)
    responses = await deferToThread(exchange, port, [data + NEXT], 1)
    assert answers_of(responses) == [expected]
    assert responses[0].headers["connection"] == "close"
    assert behind.pushed == []


SPLIT = [
    (push(LENGTH) + NEXT, [PUSHED, OK]),
    (push(CHUNKED, body=chunks(SIZE, end=b"0\r\nA: b\r\n\r\n")) + NEXT, [PUSHED, OK]),
    (get("http://other/healthz") + b"\r\n" + get(), [OK, OK]),
    (get("/healthz", "A: b", " c"), [MALFORMED]),
    (get("/healthz", "A: b\nC: d"), [MALFORMED]),
    (push(LENGTH, CHUNKED, body=chunks(SIZE)), [MALFORMED]),
    (get(host=""), [MALFORMED]),
]


@pytest.mark.parametrize(("data", "expected"), SPLIT)
def test_where_the_bytes_are_split_changes_nothing(
    web: Any, data: bytes, expected: list[tuple[int, str]]
) -> None:
    """In two pieces, at every byte; in memory, where it is known that nothing else can come."""
    for cut in range(1, len(data)):
        connection = web.connect()
        connection.send(data[:cut])
        connection.send(data[cut:])
        assert answers_of(connection.responses()) == expected, cut
        connection.close()


@pytest.mark.parametrize(("data", "expected"), SPLIT)
@pytest_twisted.ensureDeferred
async def test_a_byte_at_a_time_changes_nothing(
    port: int, data: bytes, expected: list[tuple[int, str]]
) -> None:
    pieces = [data[place : place + 1] for place in range(len(data))]
    assert answers_of(await deferToThread(exchange, port, pieces, len(expected))) == expected


def read_to_the_end(port: int, data: bytes) -> bytes:
    """All that comes for `data` while our side stays open, up to the end of the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        connection.sendall(b"x" * 1000)  # is thrown away: no reset
        return received


@pytest.mark.parametrize("name", ["nothing of HTTP", "no Host", "5,001 digits", "a folded trailer"])
@pytest_twisted.ensureDeferred
async def test_after_a_refusal_the_server_ends_its_side_at_once(port: int, name: str) -> None:
    """The end comes with the answer; a client that waits for it need not wait."""
    case = REFUSED[name]
    data = case[0] if isinstance(case, tuple) else case
    answers = parse_responses(await deferToThread(read_to_the_end, port, data))
    assert [answer.headers["connection"] for answer in answers] == ["close"]

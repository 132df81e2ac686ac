"""What a client is told of limits on its requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from push.access.rate_limits import RefusalCounts
from push.access.request_rates import Quota
from push.daemons.metrics.registry import make_registry
from push.http.framework.access import KEYLESS_BODY_BYTES
from push.wire.errors import LimitPolicy, RequestError
from tests.http.conftest import Web, make_request

MakeWeb = Callable[..., Web]
PUSH = {"to": {"all": True}, "data": 1}
POLICY = LimitPolicy("requests_per_second", 5, 1)


class Rates:
    """So many requests, by the digest of a key; and then no more."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.keys: set[str] = set()

    async def take(self, key: str) -> Quota:
        self.keys.add(key)
        if not self.left:
            raise RequestError("rate_limited", "too many", after_seconds=3, limit=POLICY)
        self.left -= 1
        return Quota(POLICY, self.left, 1)


def test_every_answer_says_what_is_left_and_a_refusal_when_to_come_back(make_web: MakeWeb) -> None:
    web = make_web(rates=Rates(2))

    answers = [web.push(PUSH), web.push({"data": 1}), web.push(PUSH)]

    assert [answer.status for answer in answers] == [202, 422, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {
        '"requests_per_second";q=5;w=1'
    }
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"requests_per_second";r=1;t=1',
        '"requests_per_second";r=0;t=1',
        '"requests_per_second";r=0;t=3',
    ]
    problem = answers[2].assert_problem("rate_limited")
    assert problem["violated-policies"] == ["requests_per_second"]
    assert answers[2].headers["retry-after"] == "3"
    assert "violated-policies" not in answers[1].json()
    assert len(web.behind.pushed) == 1


def test_health_and_what_needs_no_key_is_not_limited(make_web: MakeWeb) -> None:
    web = make_web(rates=Rates(0))
    for path in ("/healthz", "/readyz", "/", "/docs", "/openapi.json", "/errors/rate_limited"):
        assert web.request("GET", path).status == 200
    assert web.request("GET", "/metrics", key=None, ip="127.0.0.1").status == 200
    assert web.request("GET", "/metrics").status == 429
    assert web.push(PUSH, key="wrong").status == 401, "and a wrong key costs no question"


def test_a_body_is_not_read_when_there_are_too_many_requests(make_web: MakeWeb) -> None:
    assert make_web(rates=Rates(0)).push(b"{").status == 429


def test_wrong_keys_are_limited_by_address_and_a_right_one_never(make_web: MakeWeb) -> None:
    refusals = RefusalCounts()
    web = make_web(failed_keys_per_minute=2, refusals=refusals, trusted_proxies=("192.0.2.100",))

    def statuses(key: str | None, ip: str, **headers: Any) -> list[int]:
        return [web.push(PUSH, key=key, ip=ip, headers=headers).status for _ in range(4)]

    assert statuses("wrong", "192.0.2.7") == [401, 401, 429, 429]
    refused = web.push(PUSH, key="wrong", ip="192.0.2.7")
    assert refused.assert_problem("rate_limited")["violated-policies"] == ["failed_keys_per_minute"]
    assert refused.headers["ratelimit-policy"] == '"failed_keys_per_minute";q=2;w=60'
    assert int(refused.headers["retry-after"]) == 60
    assert statuses("push-key", "192.0.2.7") == [202] * 4
    assert statuses(None, "192.0.2.7") == [401] * 4, "no key is no attempt"
    assert statuses("read-key", "192.0.2.8") == [403] * 4, "nor is a key without the scope"
    # By the /64 of IPv6; and by what a proxy tells, never the proxy itself.
    assert statuses("wrong", "2001:db8::1") == [401, 401, 429, 429]
    assert web.push(PUSH, key="wrong", ip="2001:db8::2").status == 429
    told = {"X-Forwarded-For": "203.0.113.9"}
    assert statuses("wrong", "192.0.2.100", **told) == [401, 401, 429, 429]
    assert statuses("wrong", "192.0.2.100") == [401] * 4
    assert refusals["failed_keys_per_minute"] == 2 + 1 + 2 + 1 + 2


def test_a_wrong_key_counts_once_also_where_it_is_judged_before_the_body(make_web: MakeWeb) -> None:
    refusals = RefusalCounts()
    web = make_web(failed_keys_per_minute=2, refusals=refusals)
    batches = [web.request("POST", "/v1/push/batch", [PUSH], key="wrong") for _ in range(3)]
    assert [batch.status for batch in batches] == [401, 401, 429]
    assert refusals["failed_keys_per_minute"] == 1
    connection = web.connect()
    connection.send(make_request("POST", "/v1/push/batch", [PUSH], key="wrong"))
    assert connection.transport.value().startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    connection.close()
    assert web.request("POST", "/v1/push/batch", [PUSH], key="push-key").status == 200


def test_a_wrong_key_counts_where_its_body_is_refused_before_it_comes(make_web: MakeWeb) -> None:
    web = make_web(failed_keys_per_minute=2)
    body = b" " * (KEYLESS_BODY_BYTES + 1)
    wrong = [web.push(body, key="wrong").status for _ in range(3)]
    assert wrong == [401, 401, 429]
    assert web.push(body, key=None).status == 401


def test_refusals_are_counted_by_the_name_of_the_limit() -> None:
    refusals = RefusalCounts()
    registry = make_registry(None, refusals=refusals)
    refusals["requests_per_second"] += 3
    refusals["http_connections"] += 1

    text = generate_latest(registry).decode()

    assert re.findall(r"^push_limit_refusals_total.*$", text, re.MULTILINE) == [
        'push_limit_refusals_total{limit="http_connections"} 1.0',
        'push_limit_refusals_total{limit="requests_per_second"} 3.0',
    ]


@pytest.mark.parametrize("path", ["/v1/devices", "/v1/servers"])
def test_web_pages_may_read_the_headers(make_web: MakeWeb, path: str) -> None:
    web = make_web(origins=("https://a.example",), rates=Rates(0))
    answer = web.request(
        "POST" if path == "/v1/devices" else "GET",
        path,
        {"platform": "web", "app": "a"} if path == "/v1/devices" else None,
        key="app-key",
        headers={"Origin": "https://a.example"},
    )
    assert answer.status == 429
    exposed = answer.headers["access-control-expose-headers"]
    assert exposed == "Retry-After, RateLimit-Policy, RateLimit"

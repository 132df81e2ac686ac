"""What an application gives becomes JSON as it is, or is refused by name; never something else."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from device_server import DeviceServer, run
from http_server import HTTPServer
from hypothesis import given
from hypothesis import strategies as st

from push.sdk.aio import PushClient
from push.sdk.backend import AsyncPushAPI, PushAPI, push_item
from push.sdk.encoding import MAX_LEVELS, encode_json
from push.sdk.errors import ConfigurationError, InvalidData, InvalidDataType, PushError

NAN, INFINITY = float("nan"), float("inf")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def in_itself() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


VALUES = [
    NAN,
    INFINITY,
    -INFINITY,
    [1, NAN],
    (1, NAN),
    {"a": {"b": [INFINITY]}},
    "\ud83d",
    ["\udc00"],
    {"\ud83d": 1},
    2**64,
    -(2**63) - 1,
    10**5000,
    nested(MAX_LEVELS + 1),
    nested(100_000),
    in_itself(),
]
TYPES = [object(), b"x", bytearray(b"x"), [memoryview(b"x")], {1: 2}, {None: 1}, {b"a": 1}, print]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_that_json_has_no_form_for_are_refused(value: Any):
    with pytest.raises(InvalidData) as caught:
        encode_json(value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, PushError)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", TYPES, ids=range(len(TYPES)))
def test_types_that_json_has_no_form_for_are_refused(value: Any):
    with pytest.raises(InvalidDataType) as caught:
        encode_json(value)
    assert isinstance(caught.value, TypeError)


def test_the_place_is_named():
    with pytest.raises(InvalidData, match=r"data\.items\[1\]\.price: JSON has no nan"):
        encode_json({"items": [{"price": 1.0}, {"price": NAN}]})


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_all_of_json_arrives_as_it_was(value: Any):
    assert json.loads(encode_json(value)) == value


def test_what_becomes_json_by_itself_does():
    @dataclass
    class Order:
        number: int

    class State(enum.StrEnum):
        SENT = "sent"

    value = {"order": Order(17), "state": State.SENT, "tags": ("a", "b"), "deep": nested(30)}
    assert json.loads(encode_json(value)) == {
        "order": {"number": 17},
        "state": "sent",
        "tags": ["a", "b"],
        "deep": nested(30),
    }


WRONG = [NAN, "\ud83d", object(), {1: 2}, 2**64, b"x", in_itself()]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_no_call_of_the_api_sends_such_data(data: Any):
    calls = [
        lambda api: api.push(to={"all": True}, data=data),
        lambda api: api.push_batch([push_item(to={"all": True}, data=data)]),
        lambda api: api.send_to_user("ben", "ada", data),
        lambda api: api.create_group("ada", "Friends", extra=data),
    ]

    async def awaited(url: str) -> None:
        async with AsyncPushAPI(url) as api:
            for call in calls:
                with pytest.raises(InvalidData):
                    await call(api)

    with HTTPServer() as server:
        with PushAPI(server.url) as api:
            for call in calls:
                with pytest.raises(InvalidData):
                    call(api)
        run(awaited(server.url))
        assert server.requests == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\\b", "\ud83d", None, 5, b"x"])
def test_no_call_of_the_api_takes_a_name_that_would_be_another_path(name: Any):
    """`/v1/topics/../devices/T` is `/v1/devices/T` for every library, and forgets the device."""
    calls = [
        lambda api: api.unsubscribe(name, "T"),
        lambda api: api.unsubscribe("news", name),
        lambda api: api.erase_user(name),
        lambda api: api.forget(name),
        lambda api: api.cancel(name),
        lambda api: api.remove_member(name, "ada"),
        lambda api: api.recall("ada", name, 1),
        lambda api: api.recall("ada", "user:ben", f"../{name}"),
        lambda api: api.kick_session(name),
    ]
    with HTTPServer() as server, PushAPI(server.url) as api:
        for call in calls:
            with pytest.raises(InvalidData):
                call(api)
        assert server.requests == []


@pytest.mark.parametrize("text", ["\ud83d", "x" * 70_000])
def test_what_no_query_can_carry_is_refused(text: str):
    with HTTPServer() as server, PushAPI(server.url) as api:
        with pytest.raises(InvalidData):
            api.connections(user=text)
        assert server.requests == []


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_no_request_of_a_device_sends_such_data_nor_waits_for_a_session(data: Any):
    async def test() -> None:
        async with DeviceServer() as server:
            client = PushClient([server.url], token="T", secret="S", random=lambda: 0.0)
            async with client:
                for request in (
                    client.publish("MS", {"to": {"user": "b"}, "data": data}),
                    client.chat("b").send(data),
                    client.create_group("Friends", extra=data),
                ):
                    with pytest.raises(InvalidData):
                        await request
                peer = await server.accept()
                await peer.welcome()
                await client.wait_connected()
            await peer.gone()

    run(test())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "\ud83d"),
        ("secret", b"S"),
        ("platform", 5),
        ("app", "\udc00"),
        ("device", object()),
        ("jwt", b"x"),
        ("key", 7),
        ("servers_url", 8),
    ],
)
def test_texts_of_a_client_are_texts(name: str, value: Any):
    options = {"token": "T", "secret": "S"} | {name: value}
    with pytest.raises(InvalidData, match=name):
        PushClient(["tcp://127.0.0.1:1"], **options)


@pytest.mark.parametrize("servers", [[5], [None], ["tcp://\ud83d"], [b"tcp://h"]])
def test_servers_are_texts(servers: Any):
    with pytest.raises(ConfigurationError, match="server"):
        PushClient(servers, token="T", secret="S")


@pytest.mark.parametrize("options", [{"url": None}, {"url": "http://\ud83d"}, {"key": 5}])
def test_texts_of_the_api_are_texts(options: dict[str, Any]):
    with pytest.raises(ValueError, match=r"url|key"):
        PushAPI(**{"url": "http://h", **options})


@pytest.mark.parametrize("name", ["heartbeat", "window", "max_frame", "connect_seconds"])
@pytest.mark.parametrize("value", [NAN, INFINITY, 0, -1, "5", True])
def test_numbers_of_a_client_are_numbers(name: str, value: Any):
    options = {"token": "T", "secret": "S"} | {name: value}
    with pytest.raises(ConfigurationError, match=name):
        PushClient(["tcp://127.0.0.1:1"], **options)


@pytest.mark.parametrize("value", [NAN, INFINITY, -1, "5", True])
def test_a_queue_is_a_number_of_messages_and_may_be_none(value: Any):
    with pytest.raises(ConfigurationError, match="queue_messages"):
        PushClient(["tcp://127.0.0.1:1"], token="T", secret="S", queue_messages=value)
    PushClient(["tcp://127.0.0.1:1"], token="T", secret="S", queue_messages=0)


@pytest.mark.parametrize("value", [NAN, INFINITY, 0, -1, "5", True])
def test_numbers_of_the_api_are_numbers(value: Any):
    with pytest.raises(ConfigurationError, match="timeout"):
        PushAPI("http://h", timeout=value)
    if value != 0 or value is True:
        with pytest.raises(ConfigurationError, match="retries"):
            PushAPI("http://h", retries=value)


@pytest.mark.parametrize("url", ["http://h?a=1", "http://h/#x", "http://user:word@h", "http://k@h"])
def test_what_would_be_lost_of_a_url_is_refused(url: str):
    with pytest.raises(ConfigurationError, match="url"):
        PushAPI(url)


@pytest.mark.parametrize("wrong", [5, "ab", None, [1, 2]])
def test_objects_of_a_push_are_objects(wrong: Any):
    with PushAPI("http://h") as api:
        with pytest.raises(InvalidDataType, match="to"):
            api.push(to=wrong, data=1)
        with pytest.raises(InvalidDataType, match="items"):
            api.push_batch([wrong])


def test_a_jwt_that_is_too_large_for_any_server_is_named():
    async def test() -> None:
        async with DeviceServer() as server:
            client = PushClient([server.url], jwt="x" * 70_000)
            async with client:
                with pytest.raises(ConfigurationError, match="CONNECT"):
                    await anext(client)

    run(test())


@pytest.mark.parametrize(
    "value", [Decimal("1.1"), Decimal("NaN"), Decimal("Infinity"), timedelta(1)], ids=repr
)
def test_what_json_has_no_form_for_is_no_data(value: Any):
    for data in (value, [value], {"a": {"b": value}}, {value}):
        with pytest.raises(InvalidDataType, match=type(value).__name__):
            encode_json(data)
    with pytest.raises(InvalidDataType, match="not a string"):
        encode_json({value: 1})


def test_times_are_iso_8601():
    at = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
    assert encode_json([at, at.date(), at.time()]) == (
        b'["2026-11-29T12:30:00Z","2026-11-29","12:30:00"]'
    )


def test_an_empty_client_id_is_not_replaced():
    with PushAPI("http://h") as api:
        for send in (api.send_to_user, api.send_to_group):
            with pytest.raises(InvalidData, match="client_id"):
                send("a", "b", 1, client_id="")

"""No name makes a request about something else: it is refused before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from http_server import HTTPServer

from push.sdk.backend import AsyncPushAPI, PushAPI
from push.sdk.errors import InvalidData, PushError

NASTY: list[Any] = [
    *(".", "..", "", "/", "a/b", "..%2Fx", "anna/devices/T", "a\\b", "a" * 129, "a b", "a\n"),
    *("a\x00", "ä", "\ud800", "a?b", "a#b", "a;b", "%2e%2e", None, 5, b"anna"),
]
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "unsubscribe": lambda api, name: api.unsubscribe(name, "T"),
    "unsubscribe, token": lambda api, name: api.unsubscribe("news", name),
    "subscribe": lambda api, name: api.subscribe(name, "T"),
    "topic": lambda api, name: api.topic(name),
    "erase_user": lambda api, name: api.erase_user(name),
    "user": lambda api, name: api.user(name),
    "kick_user": lambda api, name: api.kick_user(name),
    "kick_device": lambda api, name: api.kick_device(name),
    "kick_session": lambda api, name: api.kick_session(name),
    "drain": lambda api, name: api.drain(name),
    "device": lambda api, name: api.device(name),
    "forget": lambda api, name: api.forget(name),
    "bind": lambda api, name: api.bind(name, "T"),
    "unbind, token": lambda api, name: api.unbind("anna", name),
    "message": lambda api, name: api.message(name),
    "message_devices": lambda api, name: api.message_devices(name),
    "cancel": lambda api, name: api.cancel(name),
    "group": lambda api, name: api.group(name),
    "dismiss_group": lambda api, name: api.dismiss_group(name),
    "remove_member": lambda api, name: api.remove_member("g", name),
    "send_to_user": lambda api, name: api.send_to_user(name, "anna", 1),
    "send_to_group": lambda api, name: api.send_to_group(name, "anna", 1),
    "conversations": lambda api, name: api.conversations(name),
    "history": lambda api, name: api.history("anna", name),
    "recall": lambda api, name: api.recall("anna", "user:bob", name),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_name_that_is_none_is_refused_before_anything_is_sent(call: str):
    async def awaited(url: str, name: Any) -> None:
        async with AsyncPushAPI(url, "k") as api:
            await CALLS[call](api, name)

    with HTTPServer() as server:
        for name in NASTY:
            if call == "recall" and name == 5:
                continue  # a number is what it takes
            with PushAPI(server.url, "k") as api, pytest.raises(InvalidData) as caught:
                CALLS[call](api, name)
            assert isinstance(caught.value, PushError)
            if call != "recall":  # which takes a number, and any object as its text
                assert isinstance(caught.value, TypeError) is not isinstance(name, str)
            assert len(str(caught.value)) < 300
            str(caught.value).encode()
            with pytest.raises(InvalidData):
                asyncio.run(awaited(server.url, name))
        assert server.requests == []
        assert server.connections == set()

"""The small parts of the SDK: messages, fingerprints, JWT renewal, configuration, API shape."""

from __future__ import annotations

import base64
import inspect
import json
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from push.sdk import errors, nio
from push.sdk.aio import PushClient
from push.sdk.backend import AsyncPushAPI, PushAPI
from push.sdk.core.requests import request_number
from push.sdk.core.settings import ClientSettings
from push.sdk.credentials import Credentials, jwt_expiry_seconds, renewal_delay_seconds
from push.sdk.logs import log
from push.sdk.message import BaseMessage
from push.sdk.tls import parse_fingerprint, trusting_nobody
from push.session.client.events import MessageReceived as MessageEvent


def message(number: int = 1, **body: Any) -> tuple[BaseMessage, list[str]]:
    done: list[str] = []
    event = MessageEvent(number, "m", "all", "5", body.get("kind"), {"id": "m", **body})
    made = BaseMessage(
        event,
        lambda event: done.append(f"ack {event.id}"),
        lambda event: done.append(f"release {event.id}"),
    )
    return made, done


def test_a_message_has_the_contracts_members_and_keeps_the_others_in_fields():
    made, _ = message(
        data={"a": 1}, ts=7, expires=9, title="t", body="b", kind="chat", seq=3, **{"from": "ada"}
    )
    assert (made.id, made.stream, made.offset, made.qos) == ("m", "all", "5", 1)
    assert (made.data, made.ts, made.expires) == ({"a": 1}, 7, 9)
    assert (made.title, made.body, made.kind, made.encoding) == ("t", "b", "chat", None)
    assert made.fields == {"seq": 3, "from": "ada"}
    assert made.payload() == {"a": 1}


def test_payload_decodes_base64():
    made, _ = message(data=base64.b64encode(b"\x00\xff").decode(), encoding="base64")
    assert made.payload() == b"\x00\xff"


@pytest.mark.parametrize("data", ["not base64!", 5, None])
def test_payload_of_wrong_base64_is_a_value_error(data: Any):
    with pytest.raises(ValueError, match="base64"):
        message(data=data, encoding="base64")[0].payload()


def test_a_finished_message_is_not_released():
    made, done = message()
    made._finish()
    made._finish()
    made.release()
    assert done == ["ack m"]


def test_qos_0_has_nothing_to_acknowledge():
    made, done = message(number=0)
    made._finish()
    made.release()
    assert (made.qos, made.acknowledged, done) == (0, True, [])


def test_a_truncation_is_told_from_a_message():
    made, _ = message(number=0, kind="truncated", **{"from": "3", "to": "7"})
    assert made.truncated
    assert made.fields == {"from": "3", "to": "7"}
    assert not message()[0].truncated


def test_a_client_of_plain_http_has_no_authorities_to_load_and_trusts_none():
    context = trusting_nobody()
    assert context.cert_store_stats() == {"x509": 0, "crl": 0, "x509_ca": 0}
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_fingerprints_with_and_without_colons():
    plain = "ab" * 32
    assert parse_fingerprint(plain) == bytes.fromhex(plain)
    assert parse_fingerprint(":".join(["AB"] * 32)) == bytes.fromhex(plain)
    for wrong in ("", "ab" * 31, "xy" * 32, "ab" * 33):
        with pytest.raises(errors.ConfigurationError):
            parse_fingerprint(wrong)


def jwt(claims: Any) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


def test_a_jwt_is_renewed_30_seconds_before_its_end_by_the_servers_clock():
    assert jwt_expiry_seconds(jwt({"exp": 1000})) == 1000
    assert renewal_delay_seconds(jwt({"exp": 1000}), 900_000) == 70
    assert renewal_delay_seconds(jwt({"exp": 1000}), 980_000) == 10
    assert renewal_delay_seconds(jwt({"exp": 1000}), 2_000_000) == 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "a.b.c", jwt({}), jwt([]), jwt({"exp": "soon"}), "a.ü.c"),
        *(jwt({"exp": value}) for value in (float("nan"), float("inf"), 10**400, None, [])),
    ],
)
def test_a_jwt_without_an_end_is_not_renewed(text: str):
    assert renewal_delay_seconds(text, 0) is None


def test_requests_have_the_contracts_numbers():
    assert [request_number(name) for name in ("MS", "TS", "PS")] == [1, 16, 19]
    assert request_number(99) == 99
    for wrong in ("ts", "XX", 128, -1):
        with pytest.raises(ValueError, match="request"):
            request_number(wrong)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, "token"),
        ({"token": "T"}, "secret"),
        ({"secret": "S"}, "token"),
        ({"jwt": "j", "acks": "later"}, "acks"),
        ({"jwt": "j", "heartbeat": 0}, "heartbeat"),
        ({"jwt": "j", "window": 0}, "window"),
        ({"jwt": "j", "max_frame": 100}, "max_frame"),
        ({"jwt": "j", "fingerprint": "abc"}, "fingerprint"),
        ({"jwt": "j", "servers": []}, "servers"),
        ({"jwt": "j", "servers": ["http://x"]}, "http://x"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], names: str):
    with pytest.raises(errors.ConfigurationError, match=names):
        PushClient(**({"servers": ["tls://h:1"]} | options))


def test_credentials_do_not_show_their_secret():
    assert "hush" not in repr(Credentials("T", "hush"))


def test_both_api_clients_have_the_same_documented_methods():
    def methods(kind: type) -> dict[str, str]:
        """Without what they return: an iterator here is an asynchronous one there."""
        return {
            name: f"{[*inspect.signature(member).parameters.values()]} {member.__doc__}"
            for name, member in vars(kind).items()
            if not name.startswith("_") and name not in ("send", "close")
        }

    assert methods(PushAPI) == methods(AsyncPushAPI)
    assert all(len(text) > 20 for text in methods(PushAPI).values())


def test_the_sdk_loads_no_twisted():
    code = (
        "import sys, push.sdk.aio, push.sdk.backend, push.pushctl.main;"
        "sys.exit('twisted' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_server_says_is_harmless_in_the_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "push.sdk")
    log.info("%s in %.1f s", "\x1b[2J\r\nforged\u202e", 1.5)
    assert caplog.messages == ["\\x1b[2J\\r\\nforged\\u202e in 1.5 s"]


def test_every_exception_is_a_push_error_and_is_in_the_documents():
    page = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert all(issubclass(kind, errors.PushError) for kind in kinds.values())
    assert [name for name in kinds if f"`{name}`" not in page and name != "PushError"] == []


def test_the_options_of_both_clients_are_those_of_the_settings_for_editors_too():
    options = list(inspect.signature(ClientSettings).parameters)
    for client in (PushClient, nio.PushClient):
        signature = inspect.signature(client)
        assert list(signature.parameters) == options
        assert signature.parameters["acks"].default == "auto"
        with pytest.raises(TypeError, match="no_such_option"):
            client("tcp://h:1", token="T", secret="S", no_such_option=1)


def test_each_option_of_a_device_client_is_in_the_documents():
    page = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")
    names = set(inspect.signature(ClientSettings).parameters) - {"random"}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", page)] == []

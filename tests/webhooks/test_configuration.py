"""Endpoints of the configuration, from what is written to what is stored."""

from __future__ import annotations

import msgspec
import pytest

from push.daemons.config.errors import SettingsError
from push.daemons.config.loading import load
from push.daemons.part_settings import webhook_settings
from push.webhooks.settings import WebhookSettings
from push.webhooks.signing import key_of, new_secret, signed_headers
from push.wire.api.operate.webhooks import WEBHOOK_TYPES

SECRET = "whsec_" + "QUFB" * 10 + "QQ=="
ONE = f'{{url = "http://a/", secret = "{SECRET}"}}'


def configured(text: str) -> WebhookSettings:
    return webhook_settings(load(environment={"PUSH_WEBHOOKS_ENDPOINTS": text}).webhooks)


def test_an_endpoint_may_be_private_and_without_tls_and_gets_all_types_by_default() -> None:
    settings = configured(f'[{{url = "http://127.0.0.1:9000/x", secret = "{SECRET}"}}]')
    (endpoint,) = settings.endpoints
    assert (endpoint.url, endpoint.secret) == ("http://127.0.0.1:9000/x", SECRET)
    assert endpoint.types == WEBHOOK_TYPES
    assert len(endpoint.id) == 12
    assert msgspec.json.decode(msgspec.json.encode(endpoint))["id"] == endpoint.id


def test_an_endpoint_keeps_its_name() -> None:
    text = (
        f'[{{name = "orders", url = "https://a/", secret = "{SECRET}", types = ["chat.message"]}}]'
    )
    (endpoint,) = configured(text).endpoints
    assert (endpoint.id, endpoint.types) == ("orders", ("chat.message",))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{url = "http://a/", secret = "whsec_QUFB"}]', "endpoints[0].secret: expected whsec_"),
        ('[{url = "http://a/", secret = "short"}]', "endpoints[0].secret: expected whsec_"),
        ('[{url = "http://a/"}]', "endpoints[0]: object missing required field secret"),
        (f'[{{url = "/x", secret = "{SECRET}"}}]', "endpoints[0].url: expected https://host/path"),
        (f'[{{name = "a b", url = "http://a/", secret = "{SECRET}"}}]', "endpoints[0].name"),
        (f'[{{url = "http://a/", secret = "{SECRET}", types = []}}]', "endpoints[0].types"),
        (f'[{{url = "http://a/", secret = "{SECRET}", types = ["x"]}}]', "endpoints[0].types"),
        (
            f"[{ONE}, {ONE}]",
            "two endpoints",
        ),
    ],
)
def test_a_mistake_is_one_line_without_the_secret(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        configured(text)
    assert problem in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_new_secret_is_one_and_a_signature_has_the_documented_form() -> None:
    """The example of the specification."""
    assert len(key_of(new_secret())) == 32
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

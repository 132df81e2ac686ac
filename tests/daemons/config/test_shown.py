"""What `GET /v1/config` shows of the settings: every one, where it comes from, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from push.daemons.config.loading import KEYS, load
from push.daemons.config.settings import Settings
from push.daemons.config.shown import configuration_of, shown
from push.daemons.reload import RELOADED

FILE = """
[redis]
url = ["redis://user:hush1@127.0.0.1:6379", "rediss://:hush2@[::1]:6380/1"]
[zookeeper]
hosts = "push:hush3@127.0.0.1:2181,127.0.0.2:2181/push"
[auth]
jwt_jwks_url = "https://user:hush4@keys.example.com/jwks?token=hush5"
keys = [{name = "backend", sha256 = "SHA", scopes = ["push"]}]
jwt_issuer = "https://keys.example.com/realms/one"
[otel]
endpoint = "http://me:hush6@127.0.0.1:4318/of/hush6"
[connector]
window = 32
[[webhooks.endpoints]]
name = "mine"
url = "https://example.com/hook/hush9?key=hush7"
types = ["device.online"]
secret = "whsec_aHVzaDhodXNoOGh1c2g4aHVzaDhodXNoOGh1c2g4"
""".replace("SHA", "ab" * 32)


def loaded(folder: Path) -> Settings:
    path = folder / "push.toml"
    path.write_text(FILE)
    environment = {"PUSH_HTTP_LISTEN": "127.0.0.1:8099"}
    return load(config_file=str(path), environment=environment, options={"server-node": "n1"})


def test_every_setting_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    found = shown(settings, settings, RELOADED)
    assert {(section, name) for section, rows in found.items() for name in rows} == set(KEYS)
    sources = {
        (section, name): row.source
        for section, rows in found.items()
        for name, row in rows.items()
        if row.source != "default"
    }
    file = str(tmp_path / "push.toml")
    assert sources == {
        ("redis", "url"): file,
        ("zookeeper", "hosts"): file,
        ("auth", "jwt_jwks_url"): file,
        ("auth", "keys"): file,
        ("auth", "jwt_issuer"): file,
        ("otel", "endpoint"): file,
        ("connector", "window"): file,
        ("webhooks", "endpoints"): file,
        ("http", "listen"): "PUSH_HTTP_LISTEN",
        ("server", "node"): "--server-node",
    }
    assert found["connector"]["window"].value == 32


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    text = msgspec.json.encode(configuration_of("n1", settings, settings, RELOADED)).decode()
    assert "hush" not in text
    assert "aHVzaDhodXNo" not in text
    assert "ab" * 32 not in text
    values = {
        (section, name): row["value"]
        for section, rows in json.loads(text)["settings"].items()
        for name, row in rows.items()
    }
    assert values["redis", "url"] == (
        "redis://redacted@127.0.0.1:6379 rediss://redacted@[::1]:6380/1"
    )
    assert values["zookeeper", "hosts"] == "redacted@127.0.0.1:2181,127.0.0.2:2181/push"
    assert values["auth", "keys"][0]["name"] == "backend"
    assert values["auth", "jwt_jwks_url"] == "https://keys.example.com/redacted"
    assert values["auth", "jwt_issuer"] == "https://keys.example.com/realms/one"
    assert values["otel", "endpoint"] == "http://127.0.0.1:4318/redacted"
    assert values["webhooks", "endpoints"][0]["url"] == "https://example.com/redacted"


def test_a_url_without_a_path_is_shown_as_it_is() -> None:
    settings = load(options={"otel-endpoint": "http://127.0.0.1:4318"})
    assert shown(settings, settings, ())["otel"]["endpoint"].value == "http://127.0.0.1:4318"


def test_what_a_reload_applies_is_shown_as_it_is_now(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    after = load(options={"auth-jwt-audience": "other", "connector-window": "16"})
    found = shown(before, after, RELOADED)
    assert found["auth"]["jwt_audience"].value == "other"
    assert found["connector"]["window"].value == 32

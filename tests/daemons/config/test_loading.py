"""Settings from file, environment and options, and the one line that a mistake gets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from push.daemons.config.loading import KEYS, SECTIONS, SettingsError, as_toml, load
from push.daemons.config.settings import Settings
from push.daemons.config.value_types import ZooKeeperHosts

SAMPLE = Path(__file__).parents[3] / "etc" / "push.toml"
SHA = "ab" * 32


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "push.toml"
        path.write_text(text)
        return str(path)

    return write


def test_without_anything_the_defaults_of_the_contract_hold() -> None:
    settings = load()
    assert settings == Settings()
    assert settings.connector.tcp == "127.0.0.1:6789"
    assert settings.connector.tls == "0.0.0.0:6790"
    assert settings.http.listen == "127.0.0.1:8080"
    assert settings.redis.url.embedded
    assert settings.connector.window == 64
    assert settings.limits.registrations_per_minute == 10


def test_options_come_before_variables_and_these_before_the_file(write: Any) -> None:
    path = write("[connector]\nwindow = 1\nheartbeat_grace = 1\nmax_frame = 5000\n")
    settings = load(
        config_file=path,
        environment={"PUSH_CONNECTOR_WINDOW": "2", "PUSH_CONNECTOR_HEARTBEAT_GRACE": "2"},
        options={"connector-window": "3"},
    )
    connector = settings.connector
    assert (connector.window, connector.heartbeat_grace, connector.max_frame) == (3, 2, 5000)


def test_pushctls_variables_are_no_settings() -> None:
    variables = {"PUSH_SERVER": "tls://a:1", "PUSH_URL": "http://a:1", "PUSH_KEY": "x"}
    assert load(environment=variables) == Settings()


def test_a_daemons_own_default_comes_last() -> None:
    defaults = {("http", "listen"): "127.0.0.1:8082"}
    assert load(defaults=defaults).http.listen.port == 8082
    assert load(defaults=defaults, options={"http-listen": "h:1"}).http.listen.port == 1


def test_a_list_in_a_variable_is_toml() -> None:
    keys = f'[{{name = "backend", sha256 = "{SHA.upper()}", scopes = ["push", "read"]}}]'
    settings = load(
        environment={
            "PUSH_AUTH_KEYS": keys,
            "PUSH_CONNECTOR_PUBLIC": '["tls://a.example:6790"]',
            "PUSH_ZOOKEEPER_HOSTS": '["a:2181", "b:2181"]',
        }
    )
    (key,) = settings.auth.keys
    assert (key.name, key.sha256, key.scopes) == ("backend", SHA, ("push", "read"))
    assert settings.connector.public == ("tls://a.example:6790",)
    assert settings.zookeeper.hosts == "a:2181,b:2181"


@pytest.mark.parametrize(
    ("section", "name"), [("connector", "proxy_protocol"), ("http", "trusted_proxies")]
)
def test_a_list_of_networks_is_written_alike_everywhere(
    write: Any, section: str, name: str
) -> None:
    text = '["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]'
    for sources in (
        {"config_file": write(f"[{section}]\n{name} = {text}\n")},
        {"environment": {f"PUSH_{section}_{name}".upper(): text}},
        {"options": {f"{section}-{name}".replace("_", "-"): text}},
    ):
        values = getattr(getattr(load(**sources), section), name)
        assert values == ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")


@pytest.mark.parametrize(
    ("text", "host", "port", "enabled"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("[::1]:8080", "::1", 8080, True),
        ("localhost:1", "localhost", 1, True),
        ("", "", 0, False),
    ],
)
def test_an_address_has_a_host_and_a_port_or_is_off(
    text: str, host: str, port: int, enabled: bool
) -> None:
    address = load(environment={"PUSH_HTTP_LISTEN": text}).http.listen
    assert (address.host, address.port, address.enabled) == (host, port, enabled)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[connector]\nwindw = 1", "[connector] windw is not a setting; did you mean window?"),
        ("[conector]\nwindow = 1", "[conector] is not a section; did you mean [connector]?"),
        ("[webhooks]\nurl = 'x'", "[webhooks] url is not a setting"),
        ("[webhooks]\nendpoints = [{url = 'x', secret = 'x'}]", "expected https://host/path"),
        (
            "[webhooks]\nendpoints = [{url = 'http://[::1]/', secret = 'x'}]",
            "endpoints[0].secret: expected whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            "[webhooks]\nendpoints = [{url = 'http://[::1]/', secret = 'x', types = ['x']}]",
            "endpoints[0]",
        ),
        ("[webhooks]\nmax_waiting = 0", "[webhooks] max_waiting = 0: expected a whole number"),
        ("[connector]\nws = 'h:70000'", "[connector] ws = 'h:70000': 70000 is not a port"),
        ("[connector]\norigins = ['a.example']", 'origins[0]: expected an origin, as "https://'),
        ("[connector]\norigins = ['https://a.example/x']", "origins[0]: expected an origin"),
        ("[connector]\npublic = ['wss://a.example']", "public[0]: expected"),
        ("[connector]\npublic = ['tls://a.example:1/ws']", "public[0]: expected"),
        ("redis = 'embedded'", "redis is a section: write [redis] and keys below"),
        ("[connector]\nwindow = 0", "[connector] window = 0: expected a whole number 1 … 4096"),
        ("[connector]\nwindow = '9'", "[connector] window = '9': expected a whole number"),
        ("[connector]\ntcp = 6789", '[connector] tcp = 6789: expected "host:port", "[ipv6]:port"'),
        ("[connector]\ntcp = 'h:70000'", "[connector] tcp = 'h:70000': 70000 is not a port"),
        (
            "[connector]\npublic = ['x']",
            '[connector] public: public[0]: expected "tcp://host:port"',
        ),
        ("[connector]\npublic = 'tls://a:1'", "expected a list"),
        (
            "[connector]\nproxy_protocol = ['::1', 'lb.example']",
            "[connector] proxy_protocol: proxy_protocol[1]: expected an address or a network, "
            "as \"10.0.0.0/8\": 'lb.example' does not appear to be an IPv4 or IPv6 network",
        ),
        (
            "[http]\ntrusted_proxies = ['10.0.0.1/8']",
            "[http] trusted_proxies: trusted_proxies[0]: expected an address or a network, "
            'as "10.0.0.0/8": 10.0.0.1/8 has host bits set',
        ),
        ("[http]\ntrusted_proxies = ['::ffff:10.0.0.0/104']", "write an IPv4 network as such"),
        ("[http]\ntrusted_proxies = [10]", "trusted_proxies[0]: expected an address or a net"),
        ("[http]\ntrusted_proxies = '::1'", "[http] trusted_proxies = '::1': expected a list"),
        ("[server]\nlog = 'loud'", "expected one of debug, info, warn, error, critical"),
        ("[server]\nnode = 'a b'", "[server] node = 'a b': expected a name: 1 to 128"),
        ("[redis]\nurl = []", "expected a list of URLs"),
        ("[redis]\nurl = ['redis://a', 'b']", "expected a list of URLs; a Redis URL begins with"),
        ("[redis]\nurl = ['redis://a', 'redis://a:6379/0']", "the list names one server twice"),
        ("[redis]\nurl = ['embedded', 'redis://a']", "expected a list of URLs; a Redis URL"),
        ("[redis]\nurl = 'redis+sentinel://a'", "the name of the master is missing"),
        ("[redis]\nca_file = 'a.pem'", "redis.url must begin with rediss"),
        ("[redis]\nurl = 'http://a'", '[redis] url: expected "embedded" or a URL; '),
        ("[zookeeper]\nhosts = 'user@a:2181'", 'expected "host:port,host:port"'),
        ("[zookeeper]\nhosts = 'a:2181,user:pass@b:2181'", 'expected "host:port,host:port"'),
        ("[zookeeper]\nhosts = 'a b'", 'expected "host:port,host:port"'),
        ("[auth]\njwt_algorithms = []", "expected a list of "),
        ("[auth]\njwt_algorithms = ['none']", "jwt_algorithms[0]: expected one of "),
        ("[auth]\nkeys = [{name = 'a'}]", "keys[0]: object missing required field sha256"),
        ("[auth]\nkeys = [{name = 'a', sha256 = 'x', scopes = []}]", "keys[0].sha256: expected a"),
        ("[connector]\ncertificate = 'a.pem'", "connector.private_key belong together"),
        ("[connector]\nheartbeat_min = 99\nheartbeat_max = 98", "heartbeat_min (99) is above"),
        ("[connector", "not TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it(
    write: Any, text: str, problem: str
) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        load(config_file=path)
    message = str(caught.value)
    assert problem in message
    assert "\n" not in message
    assert message.startswith((path, "connector.", "redis."))


def test_two_keys_of_one_name_are_refused(write: Any) -> None:
    key = f"{{name = 'a', sha256 = '{SHA}', scopes = ['push']}}"
    with pytest.raises(SettingsError, match=r"auth.keys: two keys are named a"):
        load(config_file=write(f"[auth]\nkeys = [{key}, {key}]"))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^/nowhere/push.toml: cannot be read: No such file"):
        load(config_file="/nowhere/push.toml")


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        (
            "PUSH_CONNECTOR_WINDW",
            "1",
            "environment: PUSH_CONNECTOR_WINDW is not a setting of this version; "
            "did you mean PUSH_CONNECTOR_WINDOW?",
        ),
        ("PUSH_WEBHOOKS_URL", "x", "environment: PUSH_WEBHOOKS_URL is not a setting of this"),
        ("PUSH_CONNECTOR_WINDOW", "x", "PUSH_CONNECTOR_WINDOW = x: expected a whole number"),
        ("PUSH_AUTH_OPEN_REGISTRATION", "maybe", "= maybe: expected true or false"),
        (
            "PUSH_HTTP_TRUSTED_PROXIES",
            "10.0.0.0/8",
            "PUSH_HTTP_TRUSTED_PROXIES = 10.0.0.0/8: expected a list",
        ),
        (
            "PUSH_CONNECTOR_PROXY_PROTOCOL",
            '["x"]',
            "PUSH_CONNECTOR_PROXY_PROTOCOL: proxy_protocol[0]: expected an address or a network",
        ),
        ("PUSH_AUTH_JWT_ALGORITHMS", "HS256", "PUSH_AUTH_JWT_ALGORITHMS = HS256: expected a list"),
    ],
)
def test_a_mistake_in_a_variable_is_one_line_that_names_it(
    variable: str, value: str, problem: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environment={variable: value})
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [".", "..", "a/b", "a b", "a\n", "x" * 129])
def test_what_is_no_id_is_no_name_in_the_configuration(write: Any, name: str) -> None:
    with pytest.raises(SettingsError, match=r"(?i)node = .*expected a name"):
        load(environment={"PUSH_SERVER_NODE": name})
    text = name.replace("\n", "\\n")
    key = f'{{name = "{text}", sha256 = "{SHA}", scopes = ["push"]}}'
    with pytest.raises(SettingsError, match="name"):
        load(config_file=write(f"[auth]\nkeys = [{key}]"))


def test_names_in_the_configuration_are_ids() -> None:
    assert load(environment={"PUSH_SERVER_NODE": "node-1.a"}).server.node == "node-1.a"
    assert load(environment={"PUSH_SERVER_NODE": ""}).server.node == ""


def test_an_option_with_a_bad_value_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^--http-listen = here: expected"):
        load(options={"http-listen": "here"})


@pytest.mark.parametrize(
    "variable",
    [
        "PUSH_KEY",
        "PUSH_URL",
        "PUSH_TEST_NO_SKIP",
        "PUSHER_CONNECTOR_WINDOW",
        "PUSH_CONNECTOR_SERVICE_HOST",
        "PUSH_CONNECTOR_PORT_6789_TCP_ADDR",
        "PATH",
    ],
)
def test_variables_that_are_not_ours_are_left_alone(variable: str) -> None:
    """Among them those that Kubernetes sets for a service named push-connector."""
    assert load(environment={variable: "tcp://10.0.0.1:6789"}) == Settings()


@pytest.mark.parametrize(
    "url",
    ["redis://user:hunter2@:99/x", "redis+sentinel://:hunter2/@a/m", "redis+sentinel://:hunter2@a"],
)
def test_a_password_never_stands_in_an_error(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environment={"PUSH_REDIS_URL": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "redis://127.0.0.1:6379",
        "rediss://user:secret@redis.example:6380/2",
        "unix:///run/redis.sock",
        "redis+sentinel://user:secret@a:26379,b/mymaster/2?sentinel_password=other",
        "rediss+sentinel://a,b,c/mymaster",
    ],
)
def test_the_forms_of_a_redis_url(url: str) -> None:
    assert load(options={"redis-url": url}).redis.url == url


def test_the_sample_names_every_setting_with_its_default(write: Any) -> None:
    text = re.sub(r"(?m)^#(\w+ = )", r"\1", SAMPLE.read_text())
    document = tomllib.loads(text)
    expected: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key in KEYS.values():
        expected[key.section][key.name] = tomllib.loads(f"value = {as_toml(key.default)}")["value"]
    assert document == expected
    settings = load(config_file=write(text))
    assert msgspec.structs.replace(settings, sources={}) == Settings()


def test_the_sample_as_it_is_changes_nothing() -> None:
    assert load(config_file=str(SAMPLE)) == Settings()


def test_every_setting_is_explained() -> None:
    assert all(key.help for key in KEYS.values())


@pytest.mark.parametrize(
    "hosts",
    ["", "a", "a:2181", "a:2181,b/push", "[::1]:2181", "user:pa:ss@a:2181,b:2181/push/here"],
)
def test_zookeeper_hosts_may_have_credentials_and_a_path(hosts: str) -> None:
    assert ZooKeeperHosts.parse(hosts) == hosts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 3000, "it nests too deep"),
        ("a = " + "{b=" * 3000, "it nests too deep"),
        ("[connector]\nwindow = " + "9" * 5000, "a number has too many digits"),
        ("[connector]\nwindow = -" + "9" * 5000, "a number has too many digits"),
        ("[connector]\nwindow = 0x" + "f" * 5000, "expected a whole number"),
        ("[connector]\nwindow = " + "9" * 4000, "expected a whole number"),
    ],
    ids=str,
)
def test_what_the_parser_cannot_take_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "push.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        load(config_file=str(path))
    assert "\n" not in str(caught.value)
    assert "sys." not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 3000, "[" + "9" * 5000 + "]"])
def test_a_list_in_a_variable_that_the_parser_cannot_take_is_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="expected a list"):
        load(environment={"PUSH_CONNECTOR_PUBLIC": text})

"""Every setting of the daemons, once: name, type, default, range and a line of help.

From these definitions come the configuration file, the environment, the options, their help and
the checks (see `push.daemons.config.loading`). Names and defaults are those of the contract. A key
whose feature is not built yet is absent, so that setting it is an error and not a silent nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from push.access.claims import JwtAlgorithm
from push.daemons.config.chat_section import ChatSection, TopicsSection
from push.daemons.config.limits import Limits
from push.daemons.config.otel_section import OtelSection
from push.daemons.config.section import KIBIBYTE, MEBIBYTE, Count, PositiveSeconds, Section
from push.daemons.config.value_types import (
    ListenAddress,
    Network,
    Origin,
    PublicUrl,
    RedisUrl,
    Sha256,
    ZooKeeperHosts,
)
from push.daemons.config.webhooks_section import WebhooksSection
from push.wire import defaults
from push.wire.api.operate.keys import ALL_SCOPES, Scope
from push.wire.frames import MAX_FRAME_BYTES
from push.wire.idents import NAME_PATTERN
from push.wire.websocket.origins import SAME_HOST

KEYS_HELP = (
    'API keys: [{name = "…", sha256 = "…", scopes = ["push", "read"]}]; scopes: '
    + ", ".join(ALL_SCOPES)
)
LogLevelName = Literal["debug", "info", "warn", "error", "critical"]
LogFormatName = Literal["text", "json"]

# msgspec searches for a pattern, and Python's `$` would also match before a line end.
KEY_NAME_PATTERN = NAME_PATTERN.replace("$", r"\Z")
NODE_NAME_PATTERN = rf"^\Z|{KEY_NAME_PATTERN}"
KeyName = Annotated[str, Meta(pattern=KEY_NAME_PATTERN)]
NodeName = Annotated[str, Meta(pattern=NODE_NAME_PATTERN)]


class ApiKeySetting(Section, frozen=True):
    """A key of the HTTP API. Only the digest of the key is known, never the key."""

    name: KeyName
    sha256: Sha256
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]


class Server(Section, frozen=True):
    """The process itself."""

    data: Annotated[
        Annotated[str, Meta(min_length=1)],
        Meta(description="folder for keys, certificates and the embedded Redis"),
    ] = "./push-data"
    node: Annotated[
        NodeName,
        Meta(
            description='name of this node in the cluster; "" = the host\'s name, and with '
            "reuse_port one that is new at each start"
        ),
    ] = ""
    zone: Annotated[
        NodeName, Meta(description="where this node is; devices are sent to connectors there first")
    ] = ""
    log: Annotated[LogLevelName, Meta(description="the least level that is logged")] = "info"
    log_format: Annotated[
        LogFormatName, Meta(description="text for people, or json: one object a line, for programs")
    ] = "text"
    reuse_port: Annotated[
        bool,
        Meta(description="true: several instances listen on the same addresses (SO_REUSEPORT)"),
    ] = False
    ready_file: Annotated[
        str,
        Meta(
            description="file that is made, with the process id in it, when the daemon has become "
            'ready, and removed at its end; "" = none'
        ),
    ] = ""

    @property
    def data_folder(self) -> Path:
        return Path(self.data).expanduser().absolute()

    @property
    def ready_path(self) -> Path | None:
        return Path(self.ready_file).expanduser().absolute() if self.ready_file else None


class Redis(Section, frozen=True):
    """The store and bus."""

    url: Annotated[
        RedisUrl,
        Meta(
            description='"embedded" (a server of its own), redis://user:password@host:port/db, '
            "rediss://… (TLS), unix:///path, redis+sentinel://host:port,…/master; or a list"
        ),
    ] = RedisUrl("embedded")
    ca_file: Annotated[
        str,
        Meta(description='PEM file with the CAs to trust of a rediss:// URL; "" = the system\'s'),
    ] = ""


class ZooKeeper(Section, frozen=True):
    """The registry of a cluster."""

    hosts: Annotated[
        ZooKeeperHosts,
        Meta(
            description='"host:port,host:port/path", user:password@ may come before it; "" = the '
            "registry is kept in Redis"
        ),
    ] = ZooKeeperHosts("")


class Connector(Section, frozen=True):
    """The gateway that devices connect to."""

    tcp: Annotated[
        ListenAddress, Meta(description='where devices connect without TLS; "" = off')
    ] = ListenAddress(f"127.0.0.1:{defaults.TCP_PORT}")
    tls: Annotated[ListenAddress, Meta(description='where devices connect with TLS; "" = off')] = (
        ListenAddress(f"0.0.0.0:{defaults.TLS_PORT}")
    )
    ws: Annotated[
        ListenAddress,
        Meta(description='where devices connect by WebSocket without TLS; "" = off'),
    ] = ListenAddress(f"127.0.0.1:{defaults.WS_PORT}")
    wss: Annotated[
        ListenAddress, Meta(description='where devices connect by WebSocket with TLS; "" = off')
    ] = ListenAddress(f"0.0.0.0:{defaults.WSS_PORT}")
    admin: Annotated[
        ListenAddress,
        Meta(description='where push-connector serves health and metrics by HTTP; "" = off'),
    ] = ListenAddress(f"127.0.0.1:{defaults.ADMIN_PORT}")
    public: Annotated[
        tuple[PublicUrl, ...],
        Meta(description="addresses given to clients, as tls://host:port; [] = where it listens"),
    ] = ()
    certificate: Annotated[
        str, Meta(description='PEM file with the certificate chain; "" = a self-signed one is made')
    ] = ""
    private_key: Annotated[
        str, Meta(description="PEM file with the certificate's key, not encrypted")
    ] = ""
    client_ca: Annotated[
        str,
        Meta(
            description="PEM file with the CAs that must have signed the certificate of each "
            'device that connects by TLS; "" = devices need none'
        ),
    ] = ""
    allow_plain: Annotated[
        bool,
        Meta(
            description="false: do not start with a public address for devices that has no TLS; "
            "true: only warn of it"
        ),
    ] = True
    window: Annotated[
        int,
        Meta(ge=1, le=4096, description="messages of a session from its first unacknowledged on"),
    ] = defaults.WINDOW_MESSAGES
    max_frame: Annotated[
        int,
        Meta(ge=4 * KIBIBYTE, le=64 * MEBIBYTE, description="bytes in the body of a frame"),
    ] = MAX_FRAME_BYTES
    max_connections: Annotated[
        Count, Meta(description="connections at one time; 0 = as many as files may be open")
    ] = 0
    weight: Annotated[
        int, Meta(ge=0, le=1000, description="share of new devices beside others; 0 = none")
    ] = 1
    drain_rate: Annotated[
        int,
        Meta(
            ge=1,
            le=defaults.MAX_DRAIN_RATE_PER_SECOND,
            description="sessions a second that are sent elsewhere before a stop",
        ),
    ] = defaults.DRAIN_RATE_PER_SECOND
    max_backlog: Annotated[
        int,
        Meta(ge=1, description="messages that wait for a device; of more, the oldest are dropped"),
    ] = defaults.MAX_BACKLOG_MESSAGES
    heartbeat: Annotated[
        PositiveSeconds, Meta(description="seconds between heartbeats when a device names none")
    ] = defaults.HEARTBEAT_SECONDS
    heartbeat_min: Annotated[
        PositiveSeconds, Meta(description="seconds, the shortest interval that a device gets")
    ] = defaults.HEARTBEAT_MIN_SECONDS
    heartbeat_max: Annotated[
        PositiveSeconds, Meta(description="seconds, the longest interval that a device gets")
    ] = defaults.HEARTBEAT_MAX_SECONDS
    heartbeat_grace: Annotated[
        PositiveSeconds, Meta(description="seconds that a heartbeat may be late")
    ] = defaults.HEARTBEAT_GRACE_SECONDS
    handshake_timeout: Annotated[
        PositiveSeconds, Meta(description="seconds from accept to CONNECT_ACK, TLS included")
    ] = defaults.HANDSHAKE_TIMEOUT_SECONDS
    redeliver_after: Annotated[
        PositiveSeconds,
        Meta(description="seconds until the first unacknowledged message is sent again"),
    ] = defaults.REDELIVER_AFTER_SECONDS
    origins: Annotated[
        tuple[Origin, ...],
        Meta(
            description="web pages that may connect by WebSocket, as https://example.com; "
            'same-host = from the host that they connect to, "*" = all'
        ),
    ] = (Origin(SAME_HOST),)
    proxy_protocol: Annotated[
        tuple[Network, ...],
        Meta(
            description="load balancers, as addresses and networks, whose connections begin with "
            "a PROXY protocol header"
        ),
    ] = ()


class Http(Section, frozen=True):
    """The HTTP API."""

    listen: Annotated[ListenAddress, Meta(description='where the HTTP API listens; "" = off')] = (
        ListenAddress(f"127.0.0.1:{defaults.HTTP_PORT}")
    )
    certificate: Annotated[
        str,
        Meta(description='PEM file with the certificate chain of the HTTP API; "" = without TLS'),
    ] = ""
    private_key: Annotated[
        str, Meta(description="PEM file with the key of that certificate, not encrypted")
    ] = ""
    trusted_proxies: Annotated[
        tuple[Network, ...],
        Meta(
            description="reverse proxies, as addresses and networks, whose X-Forwarded-For tells "
            "the client's address"
        ),
    ] = ()
    max_connections: Annotated[
        int,
        Meta(
            ge=0,
            le=65_536,
            description="connections at one time; 0 = 512, or fewer where few files may be open",
        ),
    ] = 0
    demo: Annotated[
        bool,
        Meta(description="true: `twistd push` serves the demo at /demo; on loopback, or with TLS"),
    ] = False
    demo_launcher: Annotated[
        str, Meta(description='the socket of `make demo`, which sets this by itself; "" = none')
    ] = ""


class Auth(Section, frozen=True):
    """Who may do what."""

    keys: Annotated[
        tuple[ApiKeySetting, ...],
        Meta(description=KEYS_HELP),
    ] = ()
    open_registration: Annotated[
        bool, Meta(description="true: a device registers without an app's key")
    ] = False
    jwt_key_file: Annotated[
        str, Meta(description="file with the HMAC secret or PEM public key that checks JWTs")
    ] = ""
    jwt_jwks_url: Annotated[
        Annotated[str, Meta(pattern=r"^(https?://\S+)?$")],
        Meta(description="URL of a JSON Web Key Set that checks JWTs"),
    ] = ""
    jwt_algorithms: Annotated[
        Annotated[tuple[JwtAlgorithm, ...], Meta(min_length=1)],
        Meta(description="algorithms that a JWT may use"),
    ] = ("HS256", "RS256", "ES256", "EdDSA")
    jwt_audience: Annotated[
        Annotated[str, Meta(min_length=1)], Meta(description="what a JWT's aud must contain")
    ] = "push"
    jwt_issuer: Annotated[
        str, Meta(description='what a JWT\'s iss must be; "" = it is not looked at')
    ] = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All sections, checked. Made by `push.daemons.config.loading.load`.

    `notes`: values that are not those of the file or the definitions, in sentences for operators.
    `sources`: what names the value of a section and key, if it is not the default.
    """

    server: Server = Server()
    redis: Redis = Redis()
    zookeeper: ZooKeeper = ZooKeeper()
    connector: Connector = Connector()
    http: Http = Http()
    auth: Auth = Auth()
    topics: TopicsSection = TopicsSection()
    limits: Limits = Limits()
    otel: OtelSection = OtelSection()
    chat: ChatSection = ChatSection()
    webhooks: WebhooksSection = WebhooksSection()
    notes: tuple[str, ...] = ()
    sources: dict[tuple[str, str], str] = {}


SECTION_TYPES: dict[str, type[Section]] = {
    field.name: field.type
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.type, type) and issubclass(field.type, Section)
}

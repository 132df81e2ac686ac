"""The endpoints to which events are sent: stored on the first Redis server, as JSON.

Every server has a table of what they want, which the scripts that decide events read. It is made of
the endpoints again whenever they change, and by every daemon that delivers, so that a server which
missed a change gets it a second later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from push.redis import keyspace
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.webhooks.settings import ConfiguredEndpoint, WebhookSettings
from push.wire.api.operate.webhooks import WebhookState
from push.wire.errors import RequestError

ROTATION_MS = 86_400_000  # for which the secret before stays valid
MAX_ENDPOINTS = 100
MAX_SECRETS = 5  # of them valid at one time
_META = "#"  # what the names of fields begin with that are no endpoints
_VERSION = "#"
_PRESENCE = "#presence"

GONE = "it answered 410 Gone"

_store = load_script("webhooks", "store")
_want = load_script("webhooks", "want")


class Secret(Struct, frozen=True, array_like=True):
    """`until_ms` 0: it is the present one."""

    secret: str
    until_ms: int = 0


class WebhookEndpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As it is stored. `disabled`: why, if not by an operator. Times are in ms since 1970 UTC."""

    id: str
    url: str
    types: list[str]
    secrets: list[Secret]
    source: str
    created: int
    enabled: bool = True
    disabled: str = ""
    description: str = ""
    failing_since: int | None = None

    @property
    def state(self) -> WebhookState:
        if not self.enabled:
            return "disabled"
        return "ok" if self.failing_since is None else "failing"

    @property
    def is_configured(self) -> bool:
        return self.source == "config"

    def valid_secrets(self, now_ms: int) -> list[str]:
        return [one.secret for one in self.secrets if one.until_ms == 0 or one.until_ms > now_ms]

    def with_secret(self, secret: str, now_ms: int) -> WebhookEndpoint:
        """The secrets of before stay valid for a day."""
        until_ms = now_ms + ROTATION_MS
        before = [
            Secret(one.secret, one.until_ms or until_ms)
            for one in self.secrets
            if one.until_ms == 0 or one.until_ms > now_ms
        ]
        return replace(self, secrets=[Secret(secret), *before[: MAX_SECRETS - 1]])

    def switched(self, on: bool) -> WebhookEndpoint:
        """By an operator."""
        return replace(self, enabled=on, disabled="", failing_since=None)

    def disabled_because(self, reason: str) -> WebhookEndpoint:
        return replace(self, enabled=False, disabled=reason)


class Endpoints(NamedTuple):
    """All of them by id; `version` grows with each change. `presence`: since which offset some
    endpoint wants to know who is online, "" where none does."""

    version: int
    by_id: Mapping[str, WebhookEndpoint]
    presence: str = ""

    def wanting(self) -> dict[str, list[str]]:
        """By type the ids of the endpoints that want such events now."""
        wanted: dict[str, list[str]] = {}
        for endpoint in self.by_id.values():
            for type in endpoint.types if endpoint.enabled else ():
                wanted.setdefault(type, []).append(endpoint.id)
        return wanted


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WebhookEndpoint).decode

# What becomes of an endpoint (None: there is none, or it is to be deleted). May raise.
Change = Callable[[WebhookEndpoint | None], WebhookEndpoint | None]


class EndpointStore:
    """Reads and changes the endpoints. Everything raises `StoreUnavailable`."""

    def __init__(self, shards: Shards, settings: WebhookSettings) -> None:
        self._shards = shards
        self._first = shards.first
        self._settings = settings
        self._key = self._first.key(keyspace.WEBHOOK_ENDPOINTS)

    def now_ms(self) -> int:
        return self._first.clock.now_ms()

    async def read(self) -> Endpoints:
        reply = await self._first.command("HGETALL", self._key)
        fields = {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}
        version = int(fields.get(_VERSION, b"0"))
        found = {id: _decode(raw) for id, raw in fields.items() if not id.startswith(_META)}
        presence = fields.get(_PRESENCE, b"").decode()
        return Endpoints(version, dict(sorted(found.items())), presence)

    async def get(self, id: str) -> WebhookEndpoint:
        """Raises `RequestError` `not_found`."""
        raw = None if id.startswith(_META) else await self._first.command("HGET", self._key, id)
        if raw is None:
            raise unknown_endpoint()
        return _decode(raw)

    async def change(self, id: str, change: Change) -> WebhookEndpoint | None:
        """What `change` makes of the endpoint, once every server's scripts know it."""
        while True:
            raw = await self._first.command("HGET", self._key, id)
            before = None if raw is None else _decode(raw)
            after = change(before)
            if after == before:
                return after
            arguments: list[Argument] = [id, raw or b"", b"" if after is None else _encode(after)]
            if await self._first.run(_store, [], arguments, durable=True, decode=int):
                await self.publish(await self.read())
                return after

    async def publish(self, endpoints: Endpoints) -> None:
        """The scripts of every server know what is wanted."""
        await gather(self.publish_to(number, endpoints) for number in range(len(self._shards)))

    async def publish_to(self, number: int, endpoints: Endpoints) -> None:
        settings = self._settings
        arguments: list[Argument] = [
            endpoints.version,
            number,
            settings.max_waiting,
            settings.offline_after_seconds * 1000,
            " ".join(endpoints.by_id),
            endpoints.presence,
        ]
        for type, ids in sorted(endpoints.wanting().items()):
            arguments += [type, " ".join(ids)]
        await self._shards[number].run(_want, [], arguments)

    async def adopt(self) -> None:
        """The endpoints of the configuration are there as it has them, and no others of it."""
        configured = {f"config-{one.id}": one for one in self._settings.endpoints}
        for id, endpoint in (await self.read()).by_id.items():
            if endpoint.is_configured and id not in configured:
                await self.change(id, lambda _: None)
        for id, wanted in configured.items():
            await self.change(id, partial(self._adopted, id, wanted))

    def _adopted(
        self, id: str, wanted: ConfiguredEndpoint, before: WebhookEndpoint | None
    ) -> WebhookEndpoint:
        now_ms = self.now_ms()
        types = sorted(wanted.types)
        if before is None:
            return WebhookEndpoint(
                id=id,
                url=wanted.url,
                types=types,
                secrets=[Secret(wanted.secret)],
                source="config",
                created=now_ms,
            )
        if before.secrets[0].secret != wanted.secret:
            before = before.with_secret(wanted.secret, now_ms)
        if before.url != wanted.url:
            before = before.switched(True)
        return replace(before, url=wanted.url, types=types)

    async def note_success(self, id: str) -> WebhookEndpoint | None:
        return await self.change(
            id, lambda found: None if found is None else replace(found, failing_since=None)
        )

    async def note_failure(self, id: str) -> WebhookEndpoint | None:
        """It is failing from now on; after five days of that it is disabled."""
        now_ms = self.now_ms()

        def failing(found: WebhookEndpoint | None) -> WebhookEndpoint | None:
            if found is None or not found.enabled:
                return found
            if found.failing_since is None:
                return replace(found, failing_since=now_ms)
            failed_s = (now_ms - found.failing_since) / 1000
            if failed_s < self._settings.disable_after_seconds:
                return found
            days = round(failed_s / 86_400, 1)
            return found.disabled_because(f"every attempt failed for {days:g} days")

        return await self.change(id, failing)

    async def disable(self, id: str, reason: str) -> WebhookEndpoint | None:
        return await self.change(
            id,
            lambda found: (
                found if found is None or not found.enabled else found.disabled_because(reason)
            ),
        )


def unknown_endpoint() -> RequestError:
    return RequestError("not_found", "there is no such endpoint")

"""What operators do with endpoints: the same for all callers."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict, replace

from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.webhooks.addresses import check_url, shown_url
from push.webhooks.endpoints import (
    MAX_ENDPOINTS,
    EndpointStore,
    Secret,
    WebhookEndpoint,
    unknown_endpoint,
)
from push.webhooks.outbox import ServerOutbox
from push.webhooks.settings import WebhookSettings
from push.webhooks.signing import new_secret
from push.wire.api.common import ABSENT
from push.wire.api.operate.webhooks import (
    TEST_TYPE,
    ReplayBody,
    Webhook,
    WebhookAttempt,
    WebhookBody,
    WebhookChange,
    WebhookChanged,
    WebhookMade,
)
from push.wire.errors import RequestError

_encode = msgspec.json.Encoder().encode

Place = tuple[int, int]  # of an attempt: its offset and the index of its server

_END_US = 2**53


class Webhooks:
    """Raises `RequestError`; `StoreUnavailable`: then it may have happened.

    `check_host(url)` raises `RequestError` for a host that is not at a public address.
    """

    def __init__(
        self,
        shards: Shards,
        settings: WebhookSettings,
        next_id: Callable[[], str],
        check_host: Callable[[str], Awaitable[None]],
    ) -> None:
        self.store = EndpointStore(shards, settings)
        self._next_id = next_id
        self._check_host = check_host
        self._outboxes = [ServerOutbox(server) for server in shards]

    async def page(self, after: str, limit: int) -> tuple[list[Webhook], str | None]:
        """Endpoints by id, and after which the next page begins."""
        found = [one for id, one in (await self.store.read()).by_id.items() if id > after]
        page = found[:limit]
        return await self._described(page), page[-1].id if len(found) > limit else None

    async def get(self, id: str) -> Webhook:
        return (await self._described([await self.store.get(id)]))[0]

    async def create(self, body: WebhookBody) -> WebhookMade:
        await self._check_url(body.url)
        if len((await self.store.read()).by_id) >= MAX_ENDPOINTS:
            raise RequestError("not_allowed", f"there are {MAX_ENDPOINTS} endpoints already")
        secret = new_secret()
        endpoint = WebhookEndpoint(
            id=f"wh-{self._next_id()}",
            url=body.url,
            types=sorted(set(body.types)),
            secrets=[Secret(secret)],
            source="made",
            created=self.store.now_ms(),
            enabled=body.enabled,
            description=body.description,
        )
        await self.store.change(endpoint.id, lambda _: endpoint)
        return WebhookMade(**asdict(await self.get(endpoint.id)), secret=secret)

    async def change(self, id: str, body: WebhookChange) -> WebhookChanged:
        """Change what `body` has; with `rotate`, make a new secret, which is in the answer.

        Raises `RequestError` `not_found`, `not_allowed`, `invalid`; and `StoreUnavailable`.
        """
        if body.url == shown_url((await self.store.get(id)).url):
            body = replace(body, url=UNSET)  # as it was read
        if body.url is not UNSET:
            await self._check_url(body.url)
        secret = new_secret() if body.rotate else ""
        now_ms = self.store.now_ms()

        def changed(before: WebhookEndpoint | None) -> WebhookEndpoint:
            if before is None:
                raise unknown_endpoint()
            given = {
                name: value
                for name, value in asdict(body).items()
                if name in ("url", "types", "description") and value is not UNSET
            }
            if before.is_configured and (given or secret):
                raise RequestError(
                    "not_allowed", "it belongs to the configuration: only `enabled` changes here"
                )
            if "types" in given:
                given["types"] = sorted(set(given["types"]))
            after = replace(before, **given)
            if body.enabled is not UNSET and body.enabled != before.enabled:
                after = after.switched(body.enabled)
            return after.with_secret(secret, now_ms) if secret else after

        await self.store.change(id, changed)
        return WebhookChanged(**asdict(await self.get(id)), secret=secret or ABSENT)

    async def delete(self, id: str) -> None:
        def deleted(before: WebhookEndpoint | None) -> None:
            if before is None:
                raise unknown_endpoint()
            if before.is_configured:
                raise RequestError("not_allowed", "it belongs to the configuration")

        await self.store.change(id, deleted)
        await gather(outbox.forget(id) for outbox in self._outboxes)

    async def attempts(
        self, id: str, before: Place | None, limit: int
    ) -> tuple[list[WebhookAttempt], Place | None]:
        """The newest first, and the place of the last if there are more. While an endpoint is
        disabled, none has a next one."""
        endpoint = await self.store.get(id)
        found = await gather(
            self._attempts(number, id, before, limit + 1) for number in range(len(self._outboxes))
        )
        merged = list(heapq.merge(*found, key=lambda item: item[0], reverse=True))
        page = merged[:limit]
        more = page[-1][0] if len(merged) > limit else None
        attempts = [attempt for _, attempt in page]
        if not endpoint.enabled:
            attempts = [replace(attempt, next=None) for attempt in attempts]
        return attempts, more

    async def _attempts(
        self, number: int, id: str, before: Place | None, limit: int
    ) -> list[tuple[Place, WebhookAttempt]]:
        """Of one server. Of two servers' attempts at one offset, the later server's come first."""
        offset = None
        if before is not None:
            offset = before[0] + (1 if number < before[1] else 0)
        found = await self._outboxes[number].attempts(id, offset, limit)
        return [((one.offset, number), one.attempt) for one in found]

    async def replay(self, id: str, body: ReplayBody) -> int:
        endpoint = await self._enabled(id)
        if body.type is not UNSET and body.type not in endpoint.types:
            raise RequestError("invalid", "`type`: this endpoint does not get it", field="type")
        types = endpoint.types if body.type is UNSET else [body.type]
        since_us = 0 if body.since is UNSET else min(body.since * 1000, _END_US)
        until_us = _END_US if body.until is UNSET else min(body.until * 1000 + 999, _END_US)
        counts = await gather(
            outbox.replay(id, types, since_us, until_us, failed=body.only_failed)
            for outbox in self._outboxes
        )
        return sum(counts)

    async def test(self, id: str) -> str:
        """The id of the event."""
        await self._enabled(id)
        data = _encode({"webhook": id}).decode()
        return await self._outboxes[0].put_test(id, TEST_TYPE, data)

    async def _enabled(self, id: str) -> WebhookEndpoint:
        endpoint = await self.store.get(id)
        if not endpoint.enabled:
            raise RequestError("not_allowed", "the endpoint is disabled: enable it first")
        return endpoint

    async def _check_url(self, url: str) -> None:
        await self._check_host(check_url(url, public=True))

    async def _described(self, endpoints: list[WebhookEndpoint]) -> list[Webhook]:
        ids = [endpoint.id for endpoint in endpoints]
        waiting = await gather(outbox.waiting(ids) for outbox in self._outboxes)
        lost = await gather(outbox.lost(ids) for outbox in self._outboxes)
        return [
            Webhook(
                id=one.id,
                url=shown_url(one.url),
                types=one.types,  # type: ignore[arg-type]  # checked when they were stored
                enabled=one.enabled,
                description=one.description,
                source="config" if one.is_configured else "made",
                created=one.created,
                state=one.state,
                disabled_reason=one.disabled or None,
                failing_since=one.failing_since,
                waiting=sum(counts[index] for counts in waiting),
                lost=sum(counts[index] for counts in lost),
            )
            for index, one in enumerate(endpoints)
        ]

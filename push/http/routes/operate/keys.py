"""API keys: made, listed and revoked while the deployment runs."""

from __future__ import annotations

import hashlib

from push.access.api_keys import ApiKey, make_key
from push.access.made_keys import MadeKeys
from push.http.framework.route import (
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.in_effect import REPLY_UNCONFIRMED, in_effect
from push.wire.api.operate.keys import ALL_SCOPES, Key, KeyBody, KeyPage, NewKey
from push.wire.api.paging import PageQuery, make_cursor, read_cursor
from push.wire.errors import RequestError

NO_STORE = (b"Cache-Control", b"no-store")


class KeyRoutes:
    def __init__(self, keys: MadeKeys) -> None:
        self._keys = keys

    @Route(
        "GET",
        "/v1/keys",
        "List API keys",
        {200: DocumentedResponse("A page of the keys that are valid, by name.", KeyPage)},
        description=(
            "Keys that were made by HTTP, which every process accepts, and those of the process "
            "that answers. `used` may be a second or two old."
        ),
        scope="admin",
        query=PageQuery,
        problems=("invalid", "unavailable"),
    )
    async def list_keys(self, call: Request) -> Response:
        query: PageQuery = call.query
        place = read_cursor("keys", query.cursor, str, str)
        await self._keys.wait_until_current()
        uses = await self._keys.uses()
        keyring = self._keys.keyring
        known = sorted((key.name, key.source, key) for key in [*keyring.own, *keyring.made])
        after = ("", "") if place is None else (place[0], place[1])
        rest = [key for name, source, key in known if (name, source) > after]
        page = rest[: query.limit]
        cursor = None
        if len(rest) > len(page):
            cursor = make_cursor("keys", page[-1].name, page[-1].source)
        return json_answer(200, KeyPage([self._entry(key, uses) for key in page], cursor))

    def _entry(self, key: ApiKey, uses: dict[str, int]) -> Key:
        used = max(uses.get(key.sha256, 0), self._keys.keyring.used_at(key.sha256) or 0)
        return Key(
            name=key.name,
            scopes=_in_order(key.scopes),
            source=key.source,
            created=key.created,
            expires=key.expires,
            used=used or None,
        )

    @Route(
        "POST",
        "/v1/keys",
        "Make an API key",
        {201: DocumentedResponse("It is valid from now on, in every process.", NewKey)},
        description=(
            "The answer has the key, which is told once: the server keeps its SHA-256. A key that "
            "`expires` is refused within a second after that. Another answer than 201 says that "
            "there is no new key, but for `unavailable`: then it is not known."
        ),
        scope="admin",
        body=Body(KeyBody, {"name": "billing", "scopes": ["push"]}),
        problems=("already_exists", "not_allowed", "unavailable"),
    )
    async def make_key(self, call: Request) -> Response:
        body: KeyBody = call.body
        if body.expires is not None and body.expires <= self._keys.now_ms():
            raise RequestError(
                "invalid", "`expires`: expected a time in the future", field="expires"
            )
        key = make_key()
        digest = hashlib.sha256(key.encode()).hexdigest()
        scopes = _in_order(frozenset(body.scopes))
        made, silent = await self._keys.make(body.name, digest, scopes, body.expires)
        answer = NewKey(name=made.name, scopes=scopes, expires=made.expires, key=key, silent=silent)
        return json_answer(201, answer, NO_STORE)

    @Route(
        "DELETE",
        "/v1/keys/{key}",
        "Revoke an API key",
        {200: REPLY_UNCONFIRMED, 204: DocumentedResponse("No process accepts it any more.")},
        description=(
            "Keys that were made by HTTP are revoked so, but not the last one with the scope "
            "`admin`. Keys of files and of the configuration are not: the answer says how they are "
            "taken away."
        ),
        scope="admin",
        problems=("not_found", "not_allowed", "unavailable"),
    )
    async def revoke_key(self, call: Request) -> Response:
        return in_effect(await self._keys.revoke(call.path["key"]))


def _in_order(scopes: frozenset[str]) -> list[str]:
    return [scope for scope in ALL_SCOPES if scope in scopes]

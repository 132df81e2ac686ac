"""The audit trail, and how a daemon is configured."""

from __future__ import annotations

from collections.abc import Callable

from push.http.checks import none_if_unset
from push.http.framework.route import DocumentedResponse, Request, Response, Route, json_answer
from push.observe.audit import AuditTrail
from push.wire.api.operate.audit import AuditPage, AuditQuery
from push.wire.api.operate.config import Configuration


class AuditRoutes:
    def __init__(self, audit: AuditTrail, configuration: Callable[[], Configuration]) -> None:
        self._audit = audit
        self._configuration = configuration

    @Route(
        "GET",
        "/v1/audit",
        "See who changed what",
        {200: DocumentedResponse("A page of the audit trail, the latest first.", AuditPage)},
        description=(
            "Every write with an API key, but for messages, positions and registrations; and "
            "refused credentials, at most ten a minute of an address. Kept for 90 days: 20,000 "
            "acts of administrators (scope `admin`), 20,000 other writes and 20,000 refusals. A "
            "page of one `key` may have fewer than `limit` although `cursor` leads on."
        ),
        scope="admin",
        query=AuditQuery,
        problems=("invalid", "unavailable"),
    )
    async def get_audit(self, call: Request) -> Response:
        query: AuditQuery = call.query
        page = await self._audit.page(
            query.since, none_if_unset(query.key), query.cursor, query.limit, call.turns_of
        )
        return json_answer(200, page)

    @Route(
        "GET",
        "/v1/config",
        "See the settings",
        {200: DocumentedResponse("Of the daemon that answers.", Configuration)},
        description=(
            "Every setting with its value and where that comes from: as the daemon was started, "
            "with what a reload has applied since. Secrets are `redacted`."
        ),
        scope="admin",
    )
    async def get_config(self, call: Request) -> Response:
        return json_answer(200, self._configuration())

"""What the key of a request may do, for a console that shows no more than that."""

from __future__ import annotations

from push.http.framework.route import DocumentedResponse, Request, Response, Route, json_answer
from push.wire.api.operate.whoami import KeyOwner


class WhoAmIRoutes:
    @Route(
        "GET",
        "/v1/whoami",
        "See what your key may do",
        {200: DocumentedResponse("Its name and scopes.", KeyOwner)},
        description="Any valid key may ask.",
        any_key=True,
    )
    async def whoami(self, call: Request) -> Response:
        assert call.api_key is not None  # `any_key`
        return json_answer(200, KeyOwner(call.api_key.name, sorted(call.api_key.scopes)))

"""The tables of docs/chat.md, cell by cell, on both doors."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry

from push.access.api_keys import ApiKey, Keyring
from push.chat.conversation_id import to_group
from push.chat.service import ChatService
from push.chat.settings import ChatSettings
from push.connector.requests.chat import ChatRequests
from push.connector.requests.dispatch import Caller
from push.devices.outbox import Outbox
from push.http.framework.access import Guards
from push.http.routes.apps import make_group
from push.http.server import make_site
from push.redis.client import RedisClient
from push.redis.connection.url import parse_store_url
from push.redis.shards import Shards
from push.streams.publisher import Retention
from push.wire.api.groups import GroupChanges, MemberChange, NewGroup
from push.wire.errors import RequestError
from push.wire.idents import Snowflake
from push.wire.signals import RequestName
from tests.chat.conftest import Door
from tests.chat.test_messages import said
from tests.conftest import RedisServer
from tests.connector.conftest import NO_RATES
from tests.waiting import wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "chat.md"
USERS = {
    "owner": "olga",
    "admin": "adam",
    "member": "mia",
    "muted member": "max",
    "not a member": "nora",
    "backend": None,
}
AS_A_USER = "as a user"


class Cell(NamedTuple):
    type: str
    action: str
    role: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.type}: {self.action}: {self.role}"


def cells() -> list[Cell]:
    """The tables of the document, under the heading of the type of group each."""
    found = []
    parts = re.split(r"^### (\w+) groups$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)
    for type, text in zip(parts[1::2], parts[2::2], strict=True):
        lines = re.findall(r"^\| .*$|^\|---.*$", text, re.MULTILINE)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        header = rows[0]
        for row in rows[2:]:
            for role, outcome in zip(header[1:], row[1:], strict=True):
                found.append(Cell(type.lower(), row[0], role, outcome.strip("`")))
    return found


class Scene:
    """A group with a member of each role, in which the owner, a member and who acts in it have said
    something.

    `device` and `http` return the code of the refusal, "yes" where there was none.
    """

    def __init__(self, chat: ChatService, door: Door, user: str | None) -> None:
        self.chat = chat
        self.group = ""
        self.user = user
        self.seqs: dict[str, int] = {}
        self._handlers = ChatRequests(chat).handlers()
        self._door = door

    async def set_up(self, type: str) -> None:
        admins, members = ["adam", "ada"], ["mia", "max", "tom", "nora"]
        all_said = NewGroup("g", members=[*admins, *members], type=type)  # type: ignore[arg-type]
        self.group = (await self.chat.groups.create("olga", all_said)).group
        speakers = {"olga", "tom", self.user or "olga"}
        # In some groups only admins may say something.
        admins_for_now = sorted(speakers.intersection(members))
        for user in (*admins, *admins_for_now):
            await self.change(member=MemberChange(user, role="admin"))
        for user in sorted(speakers):
            sent = await self.chat.messages.send(
                user, to_group(self.group), said("x"), by_device=False
            )
            self.seqs[user] = sent.seq
        for user in admins_for_now:
            await self.change(member=MemberChange(user, role="member"))
        await self.change(member=MemberChange("max", muted=True))
        await self.chat.groups.remove(self.group, ["nora"], None)

    async def change(self, **changes: Any) -> None:
        await self.chat.groups.change(self.group, GroupChanges(**changes), None)

    async def device(self, name: str, /, **body: Any) -> str:
        caller = Caller("session", "token", self.user)
        handler = self._handlers[int(RequestName[name])]
        try:
            answer = await handler.handle(caller, handler.decode(json.dumps(body).encode()))
        except RequestError as refusal:
            return refusal.code
        return _outcome(getattr(answer, "results", None))

    async def on_group(self, name: str, /, **body: Any) -> str:
        return await self.device(name, group=self.group, **body)

    async def http(self, method: str, path: str, body: Any = None) -> str:
        """`body` gets a `by`, and so does a path that ends with `by=`, unless the backend acts."""
        path = path.replace("{group}", self.group).replace("{user}", self.user or "olga")
        if path.endswith("?by="):
            path = path.removesuffix("?by=") if self.user is None else path + self.user
        elif body is not None and self.user is not None and "from" not in body:
            body = {**body, "by": self.user}
        response = await self._door(method, path, body)
        answer = response.json() if response.content else {}
        return str(answer["code"]) if response.status >= 400 else _outcome(answer.get("results"))

    async def mine(self, method: str, rest: str, body: Any = None) -> str:
        """On behalf of the user, who stands in the path."""
        path = f"/v1/users/{self.user}/conversations/group:{self.group}/{rest}"
        response = await self._door(method, path, body)
        return str(response.json()["code"]) if response.status >= 400 else "yes"


def _outcome(results: dict[str, str] | None) -> str:
    (code,) = set((results or {"": "ok"}).values())
    return "yes" if code == "ok" else code


Act = Callable[[Scene], Awaitable[str]]
GROUP, MEMBER = "/v1/groups/{group}", "/v1/groups/{group}/members/"


def change(**changes: Any) -> tuple[Act, Act]:
    """On the device's door and on the other."""
    return (
        lambda scene: scene.on_group("GMI", **changes),
        lambda scene: scene.http("PATCH", GROUP, changes),
    )


def change_member(user: str, **changes: Any) -> tuple[Act, Act]:
    return (
        lambda scene: scene.on_group("GMI", member={"user": user, **changes}),
        lambda scene: scene.http("PUT", f"{MEMBER}{user}?by=", changes),
    )


def remove(user: str) -> tuple[Act, Act]:
    return (
        lambda scene: scene.on_group("GKM", users=[user]),
        lambda scene: scene.http("DELETE", f"{MEMBER}{user}?by="),
    )


def add(invite: str) -> tuple[Act, Act]:
    async def device(scene: Scene) -> str:
        await scene.change(invite=invite)
        return await scene.on_group("GAM", users=["new"])

    async def http(scene: Scene) -> str:
        await scene.change(invite=invite)
        return await scene.http("POST", f"{GROUP}/members", {"users": ["new"]})

    return device, http


def recall(own: bool) -> tuple[Act, Act]:
    def seq(scene: Scene) -> int:
        return scene.seqs[scene.user if own and scene.user else "tom"]

    async def http(scene: Scene) -> str:
        force = "?force=true" if scene.user is None else ""
        path = f"/v1/users/{{user}}/conversations/group:{{group}}/messages/{seq(scene)}{force}"
        return await scene.http("DELETE", path)

    return (
        lambda scene: scene.device("MR", conversation=f"group:{scene.group}", seq=seq(scene)),
        http,
    )


async def see_by_device(scene: Scene) -> str:
    outcomes = {await scene.on_group("GPGI"), await scene.on_group("GPGM")}
    return "/".join(outcomes)


async def see_by_http(scene: Scene) -> str:
    if scene.user is not None:
        return await see_by_device(scene)  # there the backend sees it, on nobody's behalf
    return "/".join({await scene.http("GET", GROUP), await scene.http("GET", f"{GROUP}/members")})


async def read_by_http(scene: Scene) -> str:
    if scene.user is not None:
        return await scene.mine("GET", "messages")
    return await scene.http("GET", f"{GROUP}/messages")


async def send_by_device(scene: Scene) -> str:
    return await scene.device("MS", to={"group": scene.group}, data="x")


async def send_by_http(scene: Scene) -> str:
    return await scene.http("POST", f"{GROUP}/messages", {"from": scene.user, "data": "x"})


def while_all_are_muted(act: Act) -> Act:
    async def muted(scene: Scene) -> str:
        await scene.change(mute_all=True)
        return await act(scene)

    return muted


# None: this door has no such request.
ACTS: dict[str, tuple[Act, Act | None]] = {
    "see the group and its members": (see_by_device, see_by_http),
    "read its messages": (
        lambda scene: scene.device("MP", conversation=f"group:{scene.group}"),
        read_by_http,
    ),
    "send a message": (send_by_device, send_by_http),
    "send a message while all are muted": (
        while_all_are_muted(send_by_device),
        while_all_are_muted(send_by_http),
    ),
    "say that one is typing": (
        lambda scene: scene.device("TP", conversation=f"group:{scene.group}"),
        None,
    ),
    "say what one has read": (
        lambda scene: scene.device("MRN", conversation=f"group:{scene.group}", read=1),
        lambda scene: scene.mine("POST", "positions", {"read": 1}),
    ),
    "recall one's own message": recall(own=True),
    "recall another's message": recall(own=False),
    "add a member, with `invite` = `owner`": add("owner"),
    "add a member, with `invite` = `admin`": add("admin"),
    "add a member, with `invite` = `member`": add("member"),
    "remove a member": remove("tom"),
    "remove an admin": remove("ada"),
    "remove the owner": remove("olga"),
    "leave": (
        lambda scene: scene.on_group("GQ"),
        lambda scene: scene.http("DELETE", f"{MEMBER}{scene.user}?by="),
    ),
    "change name, announcement or `extra`": change(name="new", announcement="a", extra={"x": 1}),
    "change `invite`": change(invite="member"),
    "mute all, or end that": change(mute_all=True),
    "mute a member, or end that": change_member("tom", muted=True),
    "mute an admin, or end that": change_member("ada", muted=True),
    "mute the owner": change_member("olga", muted=True),
    "make a member an admin": change_member("tom", role="admin"),
    "make an admin a member": change_member("ada", role="member"),
    "make another the owner": change(owner="tom"),
    "dismiss the group": (
        lambda scene: scene.on_group("GD"),
        lambda scene: scene.http("DELETE", f"{GROUP}?by="),
    ),
}

Stage = Callable[[str, str | None], Awaitable[Scene]]


@pytest_twisted.async_yield_fixture(scope="module")
async def store(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    """One connection for all cells: what is stored is all that differs between them."""
    from twisted.internet import reactor

    redis_server.ensure_empty()
    client = RedisClient(reactor, parse_store_url(redis_server.url))
    client.start()
    await wait_until(lambda: client.problem is None)
    yield client
    await client.stop()


@pytest.fixture
def stage(store: RedisClient, redis_url: str) -> Stage:
    """`await stage("normal", "mia")`: a new group, and who acts in it."""
    from twisted.internet import reactor

    shards = Shards([store])
    snowflake = Snowflake(lambda: int(time.time() * 1000), secrets.randbits(10))
    settings = ChatSettings(**NO_RATES)
    chat = ChatService(shards, Outbox(shards), snowflake, settings, Retention(), _nobody_is_online)
    key = ApiKey("chat", hashlib.sha256(b"chat-key").hexdigest(), frozenset(["chat"]))
    site = make_site(
        reactor,
        [make_group(chat)],
        Guards(Keyring([key])),
        registry=CollectorRegistry(),
        problems=list,
    )

    async def make(type: str, user: str | None) -> Scene:
        scene = Scene(chat, Door(site, wait_until), user)
        await scene.set_up(type)
        return scene

    return make


async def _nobody_is_online(users: Any) -> dict[str, bool]:
    return dict.fromkeys(users, False)


def test_the_tables_are_whole() -> None:
    found = cells()
    assert len(found) == 2 * len(ACTS) * len(USERS)
    assert {cell.type for cell in found} == {"normal", "broadcast"}
    assert {cell.action for cell in found} == set(ACTS)
    assert {cell.role for cell in found} == set(USERS)
    codes = {"yes", "not_member", "not_allowed", "muted", AS_A_USER}
    assert {cell.outcome for cell in found} == codes


@pytest.mark.parametrize("cell", cells(), ids=str)
@pytest_twisted.ensureDeferred
async def test_the_cell(stage: Stage, cell: Cell) -> None:
    user = USERS[cell.role]
    by_device, by_http = ACTS[cell.action]
    if cell.outcome == AS_A_USER:
        await _check_that_it_needs_a_user(await stage(cell.type, None), cell.action)
        return
    if user is not None:
        assert await by_device(await stage(cell.type, user)) == cell.outcome
    if by_http is not None:
        assert await by_http(await stage(cell.type, user)) == cell.outcome


async def _check_that_it_needs_a_user(scene: Scene, action: str) -> None:
    """There is no such request without the name of a user in it."""
    if action.startswith("send"):
        assert await scene.http("POST", f"{GROUP}/messages", {"data": "x"}) == "invalid"
    else:
        assert action in (
            "say that one is typing",
            "say what one has read",
            "recall one's own message",
            "leave",
        )

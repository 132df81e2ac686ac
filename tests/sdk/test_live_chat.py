"""Chat with the Python clients against the real server."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from both import PushClient, is_kind
from both import cut as cut_connection
from device_server import run

from benchmarks.running import Running, started_server
from push.sdk.aio import ChatMessage, GroupChange, Recall, Receipt, Typing
from push.sdk.backend import AsyncPushAPI, PushAPI, PushAPIError
from push.sdk.errors import RequestRefused
from tests.waiting import DEADLINE_SECONDS

JWT_SECRET = "a secret of at least thirty-two bytes"

each_client = pytest.mark.usefixtures("each_client")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("chat")
    key_file = folder / "jwt.key"
    key_file.write_text(JWT_SECRET)
    settings = {"auth_jwt_key_file": str(key_file), "chat_messages_per_minute": "0"}
    with started_server("push", folder / "data", **settings) as running:
        yield running


def jwt_of(user: str) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time() + 600)}
    return jwt.encode(claims, JWT_SECRET, "HS256")


class People:
    """Users of one test, with names that no other test has."""

    def __init__(self, server: Running, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        self._suffix = secrets.token_hex(4)

    def name(self, user: str) -> str:
        return f"{user}.{self._suffix}"

    async def come(self, user: str, *, device: bool = True, **options: Any) -> Any:
        """A client of the user: with a new device, or with a JWT alone."""
        host, port = self.server.tcp_address
        if device:
            with PushAPI(self.server.http_url, self.server.app_key) as api:
                pair = api.register_device("linux", "chat")
            options |= {"token": pair.token, "secret": pair.secret}
        client = PushClient(
            f"tcp://{host}:{port}",
            jwt=lambda: jwt_of(self.name(user)),
            random=lambda: 0.0,
            **options,
        )
        await self._stack.enter_async_context(client)
        assert (await client.wait_connected()).user == self.name(user)
        return client


@asynccontextmanager
async def people(server: Running) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        yield People(server, stack)


async def next_of(client: Any, kind: type) -> Any:
    """The next message, passing over those of other kinds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for message in client:
            if is_kind(message, kind.__name__):
                return message
    raise AssertionError("the client ended")


async def refused(asking: Any) -> str:
    with pytest.raises(RequestRefused) as caught:
        await asking
    return caught.value.code


# --- Two people ----------------------------------------------------------------------------------


@each_client
def test_two_people_with_two_clients_each(server: Running) -> None:
    """With devices and with JWTs alone; what one does all of them are told."""

    async def test() -> None:
        async with people(server) as met:
            ada, adas_browser = await met.come("ada"), await met.come("ada", device=False)
            ben, bens_browser = await met.come("ben"), await met.come("ben", device=False)
            chat, back = ada.chat(met.name("ben")), ben.chat(met.name("ada"))

            sent = await chat.send({"text": "hi"}, mentions=[met.name("ben")])
            assert (sent.conversation, sent.seq) == (chat.conversation, 1)
            for client, conversation in [
                (ada, chat.conversation),
                (adas_browser, chat.conversation),
                (ben, back.conversation),
                (bens_browser, back.conversation),
            ]:
                told = await next_of(client, ChatMessage)
                assert (told.id, told.seq, told.data) == (sent.id, 1, {"text": "hi"})
                assert (told.sender, told.conversation) == (met.name("ada"), conversation)
                assert told.mentions == [met.name("ben")]

            answered = await back.send("hello", type="note", reply_to=1)
            told = await next_of(ada, ChatMessage)
            assert (told.id, told.type, told.reply_to) == (answered.id, "note", 1)
            positions = await chat.read(2)
            assert (positions.seq, positions.delivered, positions.read) == (2, 2, 2)
            receipt = await next_of(bens_browser, Receipt)
            assert (receipt.user, receipt.read) == (met.name("ada"), 2)
            assert receipt.conversation == back.conversation

            await back.typing()
            typing = await next_of(ada, Typing)
            assert (typing.user, typing.conversation) == (met.name("ben"), chat.conversation)
            assert await ada.presence([met.name("ben"), met.name("nobody")]) == {
                met.name("ben"): True
            }
            assert await refused(back.recall(1)) == "not_allowed"
            await chat.recall(1)
            recall = await next_of(ben, Recall)
            assert (recall.conversation, recall.seq, recall.by) == (
                back.conversation,
                1,
                met.name("ada"),
            )

            [mine] = [each async for each in ada.conversations()]
            assert (mine.user, mine.seq, mine.unread) == (met.name("ben"), 2, 0)
            assert mine.last is not None
            assert mine.last.data == "hello"
            gone, there = [each async for each in back.history(after=0)]
            assert (gone.recalled, gone.data, gone.sender) == (True, None, met.name("ada"))
            assert (there.recalled, there.data, there.sender) == (False, "hello", met.name("ben"))

    run(test())


@each_client
def test_history_is_complete_in_both_directions(server: Running) -> None:
    async def test() -> None:
        async with people(server) as met:
            ada = await met.come("ada", device=False)
            chat = ada.chat(met.name("ben"))
            for n in range(1, 26):
                assert (await chat.send(n)).seq == n
            ben = await met.come("ben", device=False)
            back = ben.chat(met.name("ada"))
            every = list(range(1, 26))
            assert [m.data async for m in back.history(after=0, page=7)] == every
            assert [m.data async for m in back.history(after=20, page=5)] == every[20:]
            assert [m.data async for m in back.history(page=7)] == every[::-1]
            assert [m.seq async for m in back.history(before=3, page=1)] == [2, 1]
            assert [m.seq async for m in back.history(after=25)] == []
            page = await back.history_page(limit=3)
            assert ([m.seq for m in page.messages], page.more) == ([23, 24, 25], True)

    run(test())


@each_client
def test_a_resend_is_the_same_message(server: Running) -> None:
    """The connection is cut again and again while messages are sent; each is there once."""

    async def test() -> None:
        async with people(server) as met:
            ada, ben = await met.come("ada"), await met.come("ben", device=False)
            chat, done = ada.chat(met.name("ben")), False

            async def cut() -> None:
                while not done:
                    await asyncio.sleep(0.03)
                    cut_connection(ada)

            cutting = asyncio.ensure_future(cut())
            sent = [await chat.send(n) for n in range(60)]
            done = True
            await cutting
            assert [each.seq for each in sent] == list(range(1, 61))
            history = [m async for m in ben.chat(met.name("ada")).history(after=0)]
            assert [m.data for m in history] == list(range(60))
            assert [m.id for m in history] == [each.id for each in sent]
            again = await chat.send(7, client_id=history[7].client_id)
            assert again == sent[7]
            with pytest.raises(RequestRefused, match="idempotency_mismatch"):
                await chat.send("another text", client_id=history[7].client_id)

    run(test())


# --- Groups --------------------------------------------------------------------------------------


@each_client
def test_a_group_from_its_making_to_its_end(server: Running) -> None:
    async def test() -> None:
        async with people(server) as met:
            ada, ben = await met.come("ada"), await met.come("ben")
            eve = await met.come("eve", device=False)
            names = {user: met.name(user) for user in ("ada", "ben", "eve")}
            group = await ada.create_group("Us", [names["ben"]], extra={"colour": "red"})
            joined = await next_of(ben, GroupChange)
            assert (joined.group, joined.by) == (group.group, names["ada"])
            of_ben, of_eve = ben.group(group.group), eve.group(group.group)

            info = await of_ben.info()
            assert (info.name, info.owner, info.members) == ("Us", names["ada"], 2)
            assert info.extra == {"colour": "red"}
            assert await refused(of_eve.info()) == "not_member"
            assert await refused(of_eve.send("hi")) == "not_member"
            assert await refused(of_ben.add(names["eve"])) == "not_allowed"
            assert await group.add(names["eve"], names["ben"]) == {
                names["eve"]: "ok",
                names["ben"]: "already_exists",
            }
            added = await next_of(eve, GroupChange)
            assert (added.change, added.users) == ("added", [names["eve"]])

            sent = await of_ben.send("hello")
            for client in (ada, ben, eve):
                told = await next_of(client, ChatMessage)
                assert (told.id, told.conversation) == (sent.id, group.conversation)
            await group.mute(names["ben"])
            assert await refused(of_ben.send("hi")) == "muted"
            await group.mute(names["ben"], muted=False)
            await group.set_role(names["ben"], "admin")
            assert (await of_ben.change(name="We", announcement="At eight")).name == "We"
            rows = [(m.user, m.role, m.muted) async for m in group.members(page=1)]
            assert rows == [
                (names["ada"], "owner", False),
                (names["ben"], "admin", False),
                (names["eve"], "member", False),
            ]
            [listed] = [each async for each in eve.conversations()]
            assert (listed.group, listed.unread, listed.user) == (group.group, 1, None)

            await of_eve.leave()
            assert await refused(of_eve.info()) == "not_member"
            assert await refused(group.leave()) == "not_allowed"
            await group.transfer(names["ben"])
            assert await of_ben.remove(names["ada"]) == {names["ada"]: "ok"}
            await of_ben.dismiss()
            assert await refused(of_ben.send("hi")) == "unknown_group"

            async def until_dismissed() -> None:
                while (await next_of(ben, GroupChange)).change != "dismissed":
                    pass

            await until_dismissed()

    run(test())


# --- The backend ---------------------------------------------------------------------------------


@each_client
def test_a_backend_does_the_same_on_behalf_of_users(server: Running) -> None:
    async def test() -> None:
        async with (
            people(server) as met,
            AsyncPushAPI(server.http_url, server.admin_key) as api,
        ):
            ada, ben, eve = met.name("ada"), met.name("ben"), met.name("eve")
            device = await met.come("ben")
            made = await api.create_group(ada, "Us", [ben])
            assert (await api.group(made.group)).members == 2
            assert (await api.add_members(made.group, [eve])).results == {eve: "ok"}
            await api.change_member(made.group, eve, role="admin", by=ada)
            changed = await api.change_group(made.group, announcement="At eight", by=eve)
            assert changed.announcement == "At eight"
            sent = await api.send_to_group(made.group, eve, "hi", client_id="c1")
            assert await api.send_to_group(made.group, eve, "hi", client_id="c1") == sent
            told = await next_of(device, ChatMessage)
            assert (told.id, told.sender, told.data) == (sent.id, eve, "hi")
            single = await api.send_to_user(ben, ada, {"text": "you"}, mentions=[ben])
            assert single.conversation == f"user:{ben}"
            assert (await next_of(device, ChatMessage)).id == single.id

            rows = {row.conversation: row async for row in api.each_conversation(ben)}
            assert set(rows) == {f"user:{ada}", f"group:{made.group}"}
            assert rows[f"group:{made.group}"].unread == 1
            moved = await api.set_positions(ben, f"group:{made.group}", read=1)
            assert (moved.seq, moved.read) == (1, 1)
            page = await api.history(ben, f"user:{ada}", after=0)
            assert ([m.data for m in page.messages], page.more) == ([{"text": "you"}], False)
            await api.recall(ben, f"user:{ada}", 1, force=True)
            assert (await api.history(ben, f"user:{ada}")).messages[0].recalled
            await api.recall(eve, f"group:{made.group}", 1)
            assert (await api.group_history(made.group)).messages[0].recalled
            assert [m.user async for m in api.each_member(made.group)] == [ada, ben, eve]
            await api.remove_member(made.group, eve, by=eve)
            with pytest.raises(PushAPIError) as caught:
                await api.send_to_group(made.group, eve, "hi")
            assert (caught.value.status, caught.value.code) == (403, "not_member")
            await api.dismiss_group(made.group)
            with pytest.raises(PushAPIError, match="unknown_group"):
                await api.group(made.group)

    run(test())


@each_client
def test_a_user_without_a_device_and_a_device_without_a_user(server: Running) -> None:
    async def test() -> None:
        host, port = server.tcp_address
        with PushAPI(server.http_url, server.app_key) as api:
            pair = api.register_device("linux", "chat")
        client = PushClient(f"tcp://{host}:{port}", token=pair.token, secret=pair.secret)
        async with client:
            assert await refused(client.chat("somebody").send("hi")) == "not_allowed"
            assert await refused(client.presence(["somebody"])) == "not_allowed"

    run(test())


# --- The documents -------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[2] / "docs" / "sdk.md"


def test_the_documented_code_for_chat(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block runs as it stands, in this order; the one that iterates until somebody spoke."""
    text = DOCUMENT.read_text("utf-8")
    section = text.split("\n### Chat\n", 1)[1].split("\n### ", 1)[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4

    async def test() -> None:
        async with people(server) as met:
            met.name = lambda user: user  # type: ignore[method-assign]
            names: dict[str, Any] = {"client": await met.come("ada")}
            ben = await met.come("ben")
            for block in blocks:
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                running = eval(compile(block, str(DOCUMENT), "exec", flags), names)
                assert inspect.isawaitable(running)
                if "in client:" not in block:
                    await running
                    continue
                iterating = asyncio.ensure_future(running)
                back = ben.chat("ada")
                await back.read(1)
                answered = await back.send("Yes.")
                await back.recall(answered.seq)
                await back.typing()
                await ben.create_group("Us", ["ada"])
                seen = ""
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while not all(
                        part in seen
                        for part in (
                            "Yes.",
                            "was recalled",
                            "is typing",
                            "created",
                            "user:ben ben 1 1",
                        )
                    ):
                        await asyncio.sleep(0.01)
                        seen += capsys.readouterr().out
                iterating.cancel()
                await asyncio.wait([iterating])
            said = capsys.readouterr().out
            assert "1 ada {'text': 'Tonight at eight?'}" in said
            assert "3 ['ada', 'ben', 'eve']" in said
            assert "{'ben': True}" in said

    run(test())

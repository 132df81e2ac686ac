"""What the tests of the console look at: people, devices and messages of every fate.

    python -m tests.web.console.scene HTTP_URL TCP_PORT ADMIN_KEY APP_KEY

prints a line of JSON with the names of all, when all has happened; it then keeps its devices online
until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any, NamedTuple

import httpx

from push.sdk.aio import PushClient
from tests.waiting import DEADLINE_SECONDS


class Device(NamedTuple):
    token: str
    secret: str


class Scene:
    """`names` is what is printed."""

    def __init__(self, http: str, port: int, admin_key: str, app_key: str) -> None:
        self._api = httpx.AsyncClient(
            base_url=http,
            headers={"Authorization": f"Bearer {admin_key}"},
            timeout=DEADLINE_SECONDS,
        )
        self._server = f"tcp://127.0.0.1:{port}"
        self._app_key = app_key
        self._online: list[asyncio.Task[None]] = []
        self.names: dict[str, Any] = {}

    async def call(self, method: str, path: str, body: object = None) -> Any:
        answer = await self._api.request(method, path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def device(self, user: str | None, about: str, platform: str = "android") -> Device:
        body = {"platform": platform, "app": "com.example.shop", "device": about}
        answer = await self._api.post(
            "/v1/devices", json=body, headers={"Authorization": f"Bearer {self._app_key}"}
        )
        made = answer.json()
        if user is not None:
            await self.call("PUT", f"/v1/users/{user}/devices/{made['token']}")
        return Device(made["token"], made["secret"])

    async def push(self, to: dict[str, object], text: str, **options: object) -> str:
        body = {"to": to, "data": {"text": text}, **options}
        found: str = (await self.call("POST", "/v1/push", body))["id"]
        return found

    async def until(self, path: str, condition: Any) -> Any:
        """What a GET answers, when `condition` is true of it."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                answer = await self.call("GET", path)
                if condition(answer):
                    return answer
                await asyncio.sleep(0.05)

    async def connect(self, device: Device, **options: Any) -> PushClient:
        client = PushClient([self._server], token=device.token, secret=device.secret, **options)
        self._online.append(asyncio.create_task(self._read(client)))
        await self.until(f"/v1/devices/{device.token}", lambda found: found["online"])
        return client

    async def _read(self, client: PushClient) -> None:
        async with client:
            async for _ in client:
                pass

    async def disconnect(self, device: Device, client: PushClient) -> None:
        await client.close()
        await self.until(f"/v1/devices/{device.token}", lambda found: not found["online"])

    async def play(self) -> None:
        phone = await self.device("anna", "Pixel 9, Android 16")
        tablet = await self.device("anna", "iPad Air", "ios")
        laptop = await self.device("bob", "Firefox on Linux", "web")
        unused = await self.device("carol", "iPhone 17", "ios")
        banned = await self.device("dave", "Galaxy S26")
        small = await self.device("erin", "A watch", "wear")
        for device in (phone, laptop):
            await self.call("PUT", f"/v1/topics/news/devices/{device.token}")
        await self.connect(phone)
        away = await self.connect(tablet)
        await self.connect(laptop)
        await self.connect(small, max_frame=4096)
        await self.disconnect(tablet, away)
        self.names.update(
            phone=phone.token,
            tablet=tablet.token,
            laptop=laptop.token,
            unused=unused.token,
            banned=banned.token,
            small=small.token,
        )
        await self._messages(tablet, laptop, unused, small)
        await self.call("POST", "/v1/bans", {"user": "dave"})
        await self.call("POST", "/v1/bans", {"ip": "203.0.113.0/24", "until": 4102444800000})
        await self._chat()

    async def _messages(
        self, tablet: Device, laptop: Device, unused: Device, small: Device
    ) -> None:
        push = self.push
        title = {"title": "Your parcel is on its way", "body": "It arrives today."}
        self.names.update(
            offline=await push({"user": "anna"}, "to anna", **title),
            never=await push({"token": unused.token}, "never connected"),
            topic=await push({"topic": "news"}, "to a topic"),
            all=await push({"all": True}, "to all"),
            banned_message=await push({"user": "dave"}, "banned"),
            elsewhere=await push({"user": "bob"}, "not for anna"),
            expired=await push({"token": tablet.token}, "expires", ttl=1),
            cancelled=await push({"token": tablet.token}, "cancelled"),
            collapsed=await push({"token": tablet.token}, "old", collapse="score"),
            newer=await push({"token": tablet.token}, "new", collapse="score"),
            too_large=await push({"token": small.token}, "x" * 8000),
            arrived=await push({"token": laptop.token}, "arrives"),
        )
        await self.call("DELETE", f"/v1/messages/{self.names['cancelled']}")
        for name, field in (("arrived", "acknowledged"), ("expired", "expired")):
            await self.until(f"/v1/messages/{self.names[name]}", lambda found, f=field: found[f])

    async def _chat(self) -> None:
        body = {"owner": "anna", "name": "Friends", "members": ["bob", "carol"]}
        group = (await self.call("POST", "/v1/groups", body))["group"]
        for sender, text in (("anna", "Lunch?"), ("bob", "In ten minutes."), ("anna", "See you!")):
            await self.call(
                "POST", f"/v1/groups/{group}/messages", {"from": sender, "data": {"text": text}}
            )
        hello = {"from": "bob", "data": {"text": "Did you see the news?"}}
        await self.call("POST", "/v1/users/anna/messages", hello)
        self.names["group"] = group


async def main(http: str, port: str, admin_key: str, app_key: str) -> None:
    scene = Scene(http, int(port), admin_key, app_key)
    await scene.play()
    print(json.dumps(scene.names), flush=True)
    with contextlib.suppress(EOFError):
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))

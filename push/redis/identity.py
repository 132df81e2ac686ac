"""Each server of a deployment knows which one it is (architecture, rule 12).

With another list of servers, or the same in another order, owners would hash to servers that do not
have what is theirs. So every connection asks the server whether it is the one it is taken for.
"""

from __future__ import annotations

import secrets

from push.redis.checks import Ask, evaluate
from push.redis.connection.errors import StoreUnavailable, UnsuitableServer
from push.redis.scripts import LUA

_identify = LUA.load_alone("server", "identify")


class Deployment:
    """The servers that belong together; their name is learned from the first that has one."""

    def __init__(self, servers: int) -> None:
        self.servers = servers
        self._name = ""

    async def check(self, ask: Ask, shard_key: str, clock_key: str, number: int) -> None:
        """Raises `UnsuitableServer` unless the server is number `number` of this deployment; one
        that is new becomes it."""
        proposal = secrets.token_hex(8)
        arguments: list[str | int] = [self._name, number, self.servers, proposal]
        found = await evaluate(ask, _identify, [shard_key, clock_key], arguments)
        if not found:
            raise StoreUnavailable("it is new, and the first of [redis] url was not reached yet")
        name, its_number, its_servers, moving = (item.decode() for item in found)
        if moving:
            raise UnsuitableServer(
                "its data is being moved: wait for `pushctl reshard`, or run the same again if it "
                "was broken off"
            )
        if (int(its_number), int(its_servers)) != (number, self.servers):
            raise UnsuitableServer(
                f"it is number {int(its_number) + 1} of {its_servers} in its deployment, and in "
                f"[redis] url number {number + 1} of {self.servers}: the list changes only by "
                "`pushctl reshard`"
            )
        self._name = self._name or name
        if name != self._name:
            raise UnsuitableServer(
                "it belongs to another deployment than the others of [redis] url"
            )

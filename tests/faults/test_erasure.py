"""Who erases a user is killed in the middle: others finish it, and nothing of the user is left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from push.sdk.backend import PushAPI
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from tests.faults.system import System

MakeSystem = Callable[..., System]

PEERS, MESSAGES_EACH, GROUPS = 12, 12, 12
OF_USER = ("user-devices", "user-streams", "conversations", "copied", "log:user")


def live(system: System) -> list[str]:
    """Anna has devices, owns groups and has written to many; returns the groups."""
    pairs = system.register(3)
    with PushAPI(system.api.http_url, system.admin_key) as api:
        for pair in pairs:
            api.bind("anna", pair.token)
    with PushAPI(system.groups[0].http_url, system.admin_key) as api:
        for peer in range(PEERS):
            for number in range(MESSAGES_EACH):
                api.send_to_user(
                    f"peer{peer}", "anna", f"secret {number}", client_id=f"{peer}-{number}"
                )
            api.send_to_user("anna", f"peer{peer}", "an answer")
        return [api.create_group("anna", f"g{n}", ["bob"]).group for n in range(GROUPS)]


def keys_of(system: System, pattern: str) -> bytes:
    return b"".join(server.call("KEYS", pattern) for server in system.servers)


def amount_left(system: System) -> int:
    """How much of anna there is, to see that it is the middle."""
    counts = [
        server.call(command, f"push:{kind}:anna")
        for server in system.servers
        for command, kind in (("SCARD", "user-streams"), ("ZCARD", "conversations"))
    ]
    return sum(int(count[1:]) for count in counts)


@pytest.mark.parametrize(("servers", "left"), [(1, PEERS - 2), (3, GROUPS + PEERS - 1), (3, 3)])
def test_an_erasure_whose_daemon_is_killed_is_finished_by_others(
    make_system: MakeSystem, servers: int, left: int
) -> None:
    system = make_system(groups=1, servers=servers, chat_messages_per_minute="0")
    groups = live(system)
    assert amount_left(system) == GROUPS + PEERS

    def ask() -> None:
        with (
            contextlib.suppress(PushAPIError, PushAPIUnreachable),
            PushAPI(system.api.http_url, system.admin_key, retries=0) as api,
        ):
            api.erase_user("anna")

    erasing = threading.Thread(target=ask, daemon=True)
    erasing.start()
    system.wait(lambda: amount_left(system) <= left, "it is in the middle")
    system.api.kill()
    erasing.join()

    system.wait(
        lambda: keys_of(system, "push:erasing") == b"*0\r\n" * servers,
        "it is finished",
    )
    for key in ("push:errands", "push:chat-errands", "push:dismissed"):
        system.wait(lambda key=key: keys_of(system, key) == b"*0\r\n" * servers, f"no {key}")
    for kind in OF_USER:
        assert keys_of(system, f"push:{kind}:anna") == b"*0\r\n" * servers, kind
    with PushAPI(system.groups[0].http_url, system.admin_key) as api:
        for group in groups:
            assert api.group(group).owner == "bob"
        for peer in range(PEERS):
            page = api.history(f"peer{peer}", "user:anna", limit=100)
            assert [m.recalled for m in page.messages] == [True] * MESSAGES_EACH + [False]
    system.check_logs()

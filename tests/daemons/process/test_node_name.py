"""What a node is called, and the lock on a name."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from push.daemons.config.errors import StartError
from push.daemons.process.node_name import NameLock, node_name


def test_a_node_is_called_what_it_was_told_or_like_its_host() -> None:
    assert node_name("gate", "0123456789abcdef", unique=True) == "gate"
    assert node_name("", "0123456789abcdef", unique=False) == socket.gethostname()
    assert node_name("", "0123456789abcdef", unique=True) == f"{socket.gethostname()}-01234567"


def test_a_name_is_held_for_each_service_until_the_stop(tmp_path: Path) -> None:
    held = NameLock(tmp_path, "a", ["push-api", "push-sub"])
    held.privilegedStartService()
    with pytest.raises(StartError, match="the name 'a' is in use by another push-sub"):
        NameLock(tmp_path, "a", ["push-sub"]).privilegedStartService()
    others = [NameLock(tmp_path, "b", ["push-sub"]), NameLock(tmp_path, "a", ["push-connector"])]
    for other in others:
        other.privilegedStartService()
    held.stopService()
    again = NameLock(tmp_path, "a", ["push-sub"])
    again.privilegedStartService()
    for lock in (again, *others):
        lock.stopService()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("")
    with pytest.raises(StartError, match="cannot make"):
        NameLock(tmp_path, "a", ["push-api"]).privilegedStartService()

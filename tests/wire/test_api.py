"""The definitions of bodies and answers: used by all, and named once."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path

import push.sdk.backend as backend
from push.sdk.backend.calls import base as calls
from push.wire.api.push import BatchPushBody, PushTargetBody
from push.wire.api.push_targets import PUSH_TARGETS

PACKAGE = Path(__file__).parents[2] / "push"


def test_the_sdk_sends_every_member_of_a_push() -> None:
    assert set(inspect.signature(calls.push_item).parameters) == {*BatchPushBody.__struct_fields__}


def test_the_target_of_a_push_has_a_member_for_each_kind() -> None:
    assert PushTargetBody.__struct_fields__ == tuple(target.name for target in PUSH_TARGETS)


def test_the_types_that_the_sdk_gives_are_the_ones_of_the_server() -> None:
    for name in ("Ban", "BanPage", "Connection", "DeliveryPage", "MessageLedger", "PushResult"):
        assert getattr(backend, name).__module__.startswith("push.wire.api.")


def test_few_class_names_are_used_twice() -> None:
    """The asyncio and the blocking client offer the same classes, and count as one."""
    clients = PACKAGE / "sdk"
    places = {
        (node.name, clients if path.parent.name in ("aio", "nio") else path)
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    names = Counter(name for name, _ in places)
    assert len([name for name, times in names.items() if times > 1]) < 6

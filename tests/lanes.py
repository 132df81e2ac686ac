"""Which tests belong to the quick lane, and how all of them are shared out among processes.

`make test` runs everything, `make quick` what needs no daemon in a process of its own. Under
pytest-xdist a file is worked off by one process, since its tests share servers; the tests of some
files share nothing and cost seconds each, so every one of them may go to another process. What
takes longest begins first: then nothing long is left over for one process at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from xdist.scheduler import LoadScopeScheduling

# Whole deployments in processes of their own, which tests start, kill and wait for; and what takes
# long for another reason: fail-overs, leases that run out, a list of servers that is changed.
SLOW = (
    "tests/benchmarks/",
    "tests/budget/",
    "tests/faults/",
    "tests/hostile/",
    "tests/live/",
    "tests/docs/test_commands.py",
    "tests/docs/test_clients_md.py",
    "tests/docs/test_cluster_md.py",
    "tests/docs/test_loadbalancers_md.py",
    "tests/docs/test_maintenance_md.py",
    "tests/docs/test_minting.py",
    "tests/docs/test_pages.py",
    "tests/docs/test_sse_md.py",
    "tests/resharding/",
    "tests/sdk/test_live",
    "tests/cluster/registry/",
    "tests/pushctl/test_completion.py",
    "tests/redis/connection/test_sentinel.py",
    "tests/streams/test_failover.py",
    "tests/chat/test_kills.py",
    "tests/chat/test_long_fan_out.py",
    "tests/demo/test_launcher.py",
    "tests/demo/test_page.py",
    "tests/demo/test_routes.py",
    "tests/test_nets.py",
    "tests/test_warm.py",
    "tests/test_wheel.py",
    "tests/testing/",
    "tests/interop/",
    "tests/web/console/",
    "tests/web/test_browser.py",
    "tests/web/test_client.py",
)
# Of these each test is on its own: it starts what it needs, or starts nothing that costs much.
ONE_BY_ONE = (
    "tests/benchmarks/test_smallest.py",
    "tests/faults/",
    "tests/docs/test_commands.py",
    "tests/docs/test_clients_md.py",
    "tests/docs/test_cluster_md.py",
    "tests/resharding/test_broken_off.py",
    "tests/live/test_reuse_port.py",
    "tests/demo/test_launcher.py",
    "tests/test_nets.py",
    "tests/testing/",
)
# What starts programs in the quick lane. One process works all of it off: each that starts any
# first has a host import what they do (tests/warm.py).
WITH_PROGRAMS = (
    "tests/daemons/config/test_options.py",
    "tests/daemons/test_behind_proxies.py",
    "tests/pushctl/test_errors.py",
    "tests/pushctl/test_hostile_text.py",
    "tests/pushctl/test_listen.py",
    "tests/pushctl/test_push.py",
    "tests/pushctl/test_pushctl.py",
    "tests/sdk/test_topics.py",
)
# Of these as many processes as this number each get a part, with a server of its own.
PARTS = {"tests/hostile/test_floods.py": 4}
# The order of the start: what one process is busy with for longest, then what takes long and goes
# to any process; everything else follows in the order of its names, and fills what is left.
FIRST: tuple[str | tuple[str, ...], ...] = (
    "tests/demo/test_page.py",
    "tests/web/test_client.py",
    "tests/web/console/",
    "tests/web/test_browser.py",
    "tests/hostile/test_floods.py",
    "tests/sdk/test_live",
    "tests/live/test_",
    WITH_PROGRAMS,
    "tests/connector/test_in_effect.py",
    "tests/connector/delivery/",
    "tests/connector/",
    "tests/resharding/",
    "tests/faults/test_storm.py",
    "tests/faults/test_backlog.py",
    "tests/faults/",
    "tests/docs/test_commands.py",
    "tests/docs/test_cluster_md.py",
    "tests/docs/test_clients_md.py",
    "tests/testing/",
    "tests/test_nets.py",
    "tests/test_wheel.py",
    "tests/cluster/registry/",
    "tests/streams/",
    "tests/chat/",
    "tests/webhooks/",
    "tests/sdk/",
)


def is_slow(path: str) -> bool:
    """`path` as it stands in a test's id: "tests/faults/test_storm.py"."""
    return path.startswith(SLOW)


def path_in_ids(path: Path, root: Path) -> str:
    """A file or folder as it stands in the ids of its tests; a folder ends with "/"."""
    return path.relative_to(root).as_posix() + ("/" if path.is_dir() else "")


@cache
def place_in_queue(path: str) -> int:
    """The smaller, the earlier it begins."""
    found = (place for place, start in enumerate(FIRST) if path.startswith(start))
    return next(found, len(FIRST))


def unit_of(test_id: str) -> str:
    """What one process works off at a stretch: some files, one, a part of one, or one test."""
    path = test_id.partition("::")[0]
    if path in WITH_PROGRAMS:
        return "what starts programs in the quick lane"
    if path in PARTS:
        return f"{path} {crc32(test_id.encode()) % PARTS[path]}"
    return test_id if path.startswith(ONE_BY_ONE) else path


class LongestFirst(LoadScopeScheduling):
    """Hands units out in the order of the collection, which `in_order` makes."""

    def __init__(self, config: Any, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def in_order(items: Sequence[Any]) -> list[Any]:
    return sorted(items, key=lambda item: place_in_queue(item.nodeid.partition("::")[0]))

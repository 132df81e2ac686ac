"""How much memory there is, and what happens when it is short."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from push.daemons.config.value_types import MemorySize
from push.daemons.process.memory import (
    CHECK_SECONDS,
    FREE_BYTES,
    TRIM_SECONDS,
    MemoryWatch,
    _cgroup_limits,
    free_bytes,
    give_back,
    resident_bytes,
    total_bytes,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [("60%", 600), ("100%", 1000), ("0", 0), ("512MiB", 512 * MIB), ("2GiB", 2048 * MIB)],
)
def test_a_size_is_a_share_or_a_number(text: str, expected: int) -> None:
    assert MemorySize.parse(text).bytes_of(1000) == expected


@pytest.mark.parametrize("wrong", ["", "0%", "101%", "-1", "512", "1 GiB", "1TB", 1.5, 60, True])
def test_other_sizes_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a share"):
        MemorySize.parse(wrong)


def test_the_systems_numbers_can_be_read() -> None:
    assert 4 * MIB < resident_bytes() < total_bytes()
    give_back()
    assert 0 <= free_bytes() < total_bytes()


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/app\n", {"app/memory.max": "1000", "memory.max": "max"}, [1000]),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "700"}, [700]),
        ("4:cpu,memory:/x\n1:cpu:/\n", {"memory/x/memory.limit_in_bytes": "900"}, [900]),
        ("0::/of/the/host\n", {"memory.max": "800"}, [800]),
        ("0::/\n", {}, []),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path, own: str, files: dict[str, str], expected: list[int]
) -> None:
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert list(_cgroup_limits(tmp_path / "own", tmp_path / "fs")) == expected


def test_over_the_limit_freed_memory_is_given_back_and_then_nothing_new_begins() -> None:
    clock, used, trimmed = Clock(), [500], []
    watch = MemoryWatch(clock, 1000, lambda: used[0], lambda: trimmed.append(clock.seconds()))
    watch.start()
    assert not watch.is_short
    used[0] = 1001
    clock.advance(CHECK_SECONDS)
    assert (watch.is_short, len(trimmed)) == (True, 1)
    used[0] = 960
    clock.advance(CHECK_SECONDS)
    assert watch.is_short  # not yet enough less
    used[0] = 940
    clock.advance(CHECK_SECONDS)
    assert not watch.is_short
    used[0] = 2000
    for _ in range(30):
        clock.advance(CHECK_SECONDS)
    assert watch.is_short
    assert 3 <= len(trimmed) <= 30 / TRIM_SECONDS + 2
    watch.stop()
    assert clock.getDelayedCalls() == []


def test_what_the_allocator_has_free_is_given_back_from_time_to_time_by_a_thread() -> None:
    clock, free, trimmed = Clock(), [0], 0
    threads: list[object] = []

    def trim() -> None:
        nonlocal trimmed
        trimmed += 1

    watch = MemoryWatch(clock, 0, lambda: 500, trim, lambda: free[0], threads.append)
    watch.start()
    clock.pump([CHECK_SECONDS] * 30)
    assert threads == []
    free[0] = FREE_BYTES
    clock.pump([CHECK_SECONDS] * 30)
    assert 3 <= len(threads) <= 30 / TRIM_SECONDS + 1
    assert (threads[0], trimmed) == (trim, 0)
    watch.stop()


def test_without_a_limit_it_is_never_short() -> None:
    watch = MemoryWatch(Clock(), 0, lambda: 1 << 60)
    watch.check()
    assert not watch.is_short

"""A full disk under Redis."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Redis
from tests.faults.pushing import Steady, batches, singles
from tests.faults.system import System

KIB = 1024
DISK_KIB = 64 * KIB
ROOM_KIB = 128  # what is left when it is about to be full


class Disk:
    """A small file system of its own where that may be mounted, else a limit on the size of files,
    which Redis meets in the same place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(folder)]
        self._mounted = (
            os.getuid() == 0
            and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        )

    def fill(self, redis: Redis) -> None:
        """Leave `ROOM_KIB`."""
        if self._mounted:
            while not self._filled():
                pass  # Redis wrote meanwhile, so that there was less than was measured
        else:
            written = sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file())
            limit = (written + ROOM_KIB * KIB, resource.RLIM_INFINITY)
            resource.prlimit(redis.pid, resource.RLIMIT_FSIZE, limit)

    def _filled(self) -> bool:
        left = os.statvfs(self.folder)
        size = left.f_bavail * left.f_bsize - ROOM_KIB * KIB
        if size <= 0:
            return True
        with self._filler.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return False
        return True

    def make_room(self, redis: Redis) -> None:
        self._filler.unlink(missing_ok=True)
        if not self._mounted and redis.running:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(redis.pid, resource.RLIMIT_FSIZE, unlimited)

    def remove(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    disk.remove()


def test_a_full_disk_refuses_writes_until_there_is_room(
    make_system: Callable[..., System], finish: Callable[..., None], disk: Disk
) -> None:
    """Redis answers MISCONF (`appendfsync everysec`): 503, nobody is disconnected, and all goes on
    by itself."""
    redis = Redis(fsync="everysec", data=disk.folder)
    system = make_system(connectors=2, redis=redis)
    pairs = system.register(8)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:4], system.connectors)
    system.fleet(pairs[4:], system.connectors[::-1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    later = system.pusher("later")
    pusher = system.pusher("batches")
    with (
        Steady(lambda: pusher.batch(targets * 5, pad_bytes=KIB), 0.05),
        Steady(singles(system.pusher("singles"), targets), 0.01),
    ):
        for _ in range(2):
            system.wait_accepted(200)
            disk.fill(redis)
            system.wait(
                lambda: b"aof_last_write_status:err" in redis.call("INFO", "persistence"),
                "the disk is full",
            )
            refused = [later.push(target) for target in targets]
            assert [attempt.status for attempt in refused] == [503] * len(refused)
            assert all(attempt.retry_after for attempt in refused)
            disk.make_room(redis)
        system.wait_accepted(200)
    assert redis.running
    assert not system.disconnections(pairs)
    finish(system)


def test_redis_that_ends_because_its_disk_is_full_has_not_lost_what_was_answered(
    make_system: Callable[..., System], finish: Callable[..., None], disk: Disk
) -> None:
    """With `appendfsync always` Redis cannot go on and exits; started again, all goes on."""
    redis = Redis(data=disk.folder)
    system = make_system(connectors=2, redis=redis)
    pairs = system.register(8)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:4], system.connectors)
    system.fleet(pairs[4:], system.connectors[::-1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 40), 0.03),
        Steady(singles(system.pusher("singles"), targets), 0.01),
    ):
        for _ in range(2):
            system.wait_accepted(200)
            disk.fill(redis)
            system.wait(lambda: not redis.running, "Redis ends")
            unknown = len(system.journal.unknown)
            system.wait(
                lambda unknown=unknown: len(system.journal.unknown) > unknown, "a push is refused"
            )
            disk.make_room(redis)
            redis.start()
            system.wait_accepted(200)
    assert not system.disconnections(pairs)
    finish(system)

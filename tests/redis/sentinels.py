"""Masters, replicas and sentinels as real processes on ports of their own, to be hurt by tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hiredis

from push.daemons.embedded_redis.binary import command_line, find_server
from tests.faults.processes import Process, Redis
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for

DOWN_AFTER_MS = 700


def ask(port: int, password: str, *command: str | int) -> Any:
    """The answer to one command; an error is returned, not raised."""
    commands = [["AUTH", password], list(command)] if password else [list(command)]
    reader = hiredis.Reader(encoding="utf-8", errors="replace")
    answers = []
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
        for words in commands:
            connection.sendall(hiredis.pack_command(tuple(str(word) for word in words)))
        while len(answers) < len(commands):
            data = connection.recv(65536)
            if not data:
                raise ConnectionError("the server ended the connection")
            reader.feed(data)
            while (answer := reader.gets()) is not False:
                answers.append(answer)
    return answers[-1]


class Server(Redis):
    """A Redis on a TCP port; a replica if `of` is another."""

    def __init__(
        self, password: str = "", of: Server | None = None, extra_configuration: str = ""
    ) -> None:
        self.port = free_port()
        self.password = password
        lines = [f"port {self.port}", "bind 127.0.0.1", extra_configuration]
        if password:
            lines += [f"requirepass {password}", f"masterauth {password}"]
        if of is not None:
            lines.append(f"replicaof 127.0.0.1 {of.port}")
        super().__init__(fsync="always", extra_configuration="\n".join(lines) + "\n")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING") == "PONG")
        except OSError:
            return False

    def ask(self, *command: str | int) -> Any:
        return ask(self.port, self.password, *command)

    def info(self, section: str) -> dict[str, str]:
        lines = self.ask("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}"

    @url.setter
    def url(self, value: str) -> None:
        """The one on a unix socket, which is not used here."""

    def is_synced(self) -> bool:
        return self.info("replication").get("master_link_status") == "up"

    def cut_off(self) -> None:
        """It gets nothing more from its master, and would be made master all the same."""
        self.ask("CONFIG", "SET", "masterauth", "another")
        self.ask("CLIENT", "KILL", "TYPE", "MASTER")
        wait_for(lambda: not self.is_synced(), "the replica is cut off")

    def join_again(self) -> None:
        self.ask("CONFIG", "SET", "masterauth", self.password)

    def follow(self, master: Server) -> None:
        """Become its replica, as the sentinels would have it after a while."""
        self.ask("REPLICAOF", "127.0.0.1", master.port)
        wait_for(self.is_synced, "the replica is synced")


class Sentinel(Process):
    """A sentinel with a configuration of its own, which it rewrites."""

    def __init__(
        self, master: Server, *, quorum: int = 1, password: str = "", epoch: int = 0
    ) -> None:
        super().__init__("sentinel")
        self.port = free_port()
        self.password = password
        self.folder = Path(tempfile.mkdtemp(prefix="push-test-sentinel-"))
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            'logfile ""',
            f"sentinel monitor m 127.0.0.1 {master.port} {quorum}",
            f"sentinel down-after-milliseconds m {DOWN_AFTER_MS}",
            "sentinel failover-timeout m 4000",
            "sentinel parallel-syncs m 2",
        ]
        if master.password:
            lines.append(f"sentinel auth-pass m {master.password}")
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        if epoch:
            lines += [f"sentinel current-epoch {epoch}", f"sentinel config-epoch m {epoch}"]
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        command = [*command_line(find_server())[:-1], str(self.folder / "sentinel.conf")]
        with (self.folder / "sentinel.log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--sentinel"], stdout=log, stderr=log)
        wait_for(self._answers, lambda: f"the sentinel answers\n{self.log_text()}")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING") == "PONG")
        except OSError:
            return False

    def ask(self, *command: str | int) -> Any:
        return ask(self.port, self.password, *command)

    def state(self) -> dict[str, str]:
        fields = self.ask("SENTINEL", "MASTER", "m")
        return dict(zip(fields[::2], fields[1::2], strict=True))

    def master_port(self) -> int:
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m")[1])

    def log_text(self) -> str:
        return (self.folder / "sentinel.log").read_text()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def sentinel_url(sentinels: Iterable[Sentinel], password: str = "", query: str = "") -> str:
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    userinfo = f":{password}@" if password else ""
    return f"redis+sentinel://{userinfo}{hosts}/m{query}"


class Cluster:
    """A master, two replicas and three sentinels of which two decide; passwords on all of them."""

    def __init__(self) -> None:
        first = Server("of-servers")
        self.servers = [first, Server("of-servers", first), Server("of-servers", first)]
        self.sentinels = [Sentinel(first, quorum=2, password="of-sentinels") for _ in range(3)]
        self.url = sentinel_url(self.sentinels, "of-servers", "?sentinel_password=of-sentinels")

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for replica in self.servers[1:]:
            wait_for(replica.is_synced, "the replicas are synced")
        for sentinel in self.sentinels:
            sentinel.start()
        wait_for(self._is_well, lambda: f"the sentinels know each other: {self._states()}")

    def _is_well(self) -> bool:
        return all(
            (state["num-slaves"], state["num-other-sentinels"]) == ("2", "2")
            and state["flags"] == "master"
            for state in self._states()
        )

    def _states(self) -> list[dict[str, str]]:
        return [sentinel.state() for sentinel in self.sentinels]

    def named_ports(self) -> set[int]:
        """Where the sentinels say that the master is; they need not agree."""
        return {sentinel.master_port() for sentinel in self.sentinels}

    def master(self) -> Server:
        """The one that all sentinels name."""
        (port,) = self.named_ports()
        return next(server for server in self.servers if server.port == port)

    def replicas(self) -> list[Server]:
        master = self.master()
        return [server for server in self.servers if server is not master]

    def heal(self) -> None:
        """Every server runs, and is a replica of the master that the sentinels name."""
        for process in [*self.servers, *self.sentinels]:
            if not process.running:
                process.start()
            process.resume()
        wait_for(self.agree, lambda: f"the sentinels agree: {self._states()}")
        master = self.master()
        for server in self.replicas():
            server.follow(master)
        wait_for(self._is_well, lambda: f"the sentinels are content: {self._states()}")

    def agree(self) -> bool:
        return len(self.named_ports()) == 1

    def has_switched_from(self, old: Server) -> bool:
        """All sentinels name another master."""
        ports = self.named_ports()
        return len(ports) == 1 and old.port not in ports

    def kill(self) -> None:
        for process in [*self.sentinels, *self.servers]:
            process.kill()

    def remove(self) -> None:
        for process in [*self.sentinels, *self.servers]:
            process.remove()

"""mosquitto and nats-server, where they are found. Nothing here fetches or installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.servers.base import PASSWORD, Certificate, Paths, Server, free_port

USER = "bench"
UNPACKED = Path(__file__).parents[2] / "build" / "peers" / "bin"  # by benchmarks/peers.sh


def find_peers(mosquitto: str, nats: str) -> Paths:
    """From options (empty: not given), else PEER_MOSQUITTO and PEER_NATS, else PATH."""

    def find(given: str, variable: str, program: str) -> str:
        wanted = given or os.environ.get(variable, "")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:{UNPACKED}"
        found = shutil.which(wanted or program, path=path)
        if wanted and not found:
            raise SystemExit(f"{wanted}: no such program")
        return os.path.abspath(found) if found else ""

    broker = find(mosquitto, "PEER_MOSQUITTO", "mosquitto")
    # Beside it, or as in its Debian package: sbin/mosquitto and bin/mosquitto_passwd.
    folder = os.path.dirname(broker)
    places = f"{folder}:{folder}/../bin:{os.environ.get('PATH', '')}"
    passwd = shutil.which("mosquitto_passwd", path=places) or ""
    if broker and not passwd:
        raise SystemExit(f"{broker}: mosquitto_passwd is neither beside it nor on the PATH")
    return Paths(broker, passwd, find(nats, "PEER_NATS", "nats-server"))


class Mosquitto(Server):
    """Debian's configuration, with a listener and a password file: QoS 1 is kept in memory."""

    name, protocol = "mosquitto", "mqtt"
    heartbeat_seconds = 60

    def __init__(
        self,
        paths: Paths,
        carrier: str = "plain",
        certificate: Certificate | None = None,
        *,
        keeps_session: bool = False,
    ) -> None:
        super().__init__(carrier)
        self.port = free_port()
        self._keeps_session = keeps_session
        folder = self._folder()
        passwords = folder / "passwords"
        command = [paths.mosquitto_passwd, "-b", "-c", str(passwords), USER, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
        lines = [f"listener {self.port} 127.0.0.1"]
        if certificate is not None:
            lines += [f"certfile {certificate.certificate}", f"keyfile {certificate.key}"]
        lines += [
            "allow_anonymous false",
            f"password_file {passwords}",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 10000",
            "user root",
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        command = [paths.mosquitto, "-c", str(folder / "mosquitto.conf")]
        self._start(command, folder)

    def words(self) -> dict[str, object]:
        credentials = {"user": USER, "password": PASSWORD}
        return {**super().words(), **credentials, "keeps_session": int(self._keeps_session)}


class Nats(Server):
    """nats-server with a token; it keeps nothing and knows no acknowledgement."""

    name, protocol = "nats-server", "nats"
    heartbeat_seconds = 120

    def __init__(
        self, paths: Paths, carrier: str = "plain", certificate: Certificate | None = None
    ) -> None:
        super().__init__(carrier)
        self.port = free_port()
        folder = self._folder()
        text = f'listen: "127.0.0.1:{self.port}"\nauthorization {{ token: "{PASSWORD}" }}\n'
        if certificate is not None:
            files = f'cert_file: "{certificate.certificate}", key_file: "{certificate.key}"'
            text += f"tls {{ {files} }}\n"
        (folder / "nats.conf").write_text(text)
        self._start([paths.nats, "-c", str(folder / "nats.conf")], folder)

    def words(self) -> dict[str, object]:
        return {**super().words(), "password": PASSWORD}

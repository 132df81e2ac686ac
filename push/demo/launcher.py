"""Starts the parts of the demo, keeps them running, and ends them with nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

from push.daemons.config.errors import StartError
from push.daemons.embedded_redis.binary import configuration, find_server
from push.demo.control import serve_orders
from push.demo.network import PageNetwork, Relay
from push.demo.processes import LOOK_SECONDS, START_SECONDS, LauncherError, Program

DEFAULT_PORT = 8080
# Where pages find the connectors, if free: fixed, so that they can be passed on to a phone.
RELAY_PORTS = {"east": 8091, "west": 8092}
# A connector that was drained is started again after this, so that people see that it is gone.
RESTART_SECONDS = 3.0
# Failures in a row after which a connector is not started again.
MOST_FAILURES = 3
LONGEST_FOLDER = 60  # a unix socket in it has a path of at most 103 bytes
KEY_SCOPES = ("push", "read")

__all__ = ["DEFAULT_PORT", "Launcher", "LauncherError"]


class Launcher:
    """`port` None: the default, or a free one where that is taken."""

    def __init__(self, port: int | None, *, opens_browser: bool) -> None:
        self._asked_port = port
        self._opens_browser = opens_browser
        self._key = "pk_" + secrets.token_urlsafe(32)
        self._network = PageNetwork()
        self._relays: dict[str, Relay] = {}
        self._programs: list[Program] = []
        self._stopping = asyncio.Event()
        self._folder = Path()
        self._port = 0

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def run(self) -> None:
        """Until a signal comes. Raises `LauncherError` for what keeps it from going on."""
        self._take_signals()
        self._folder = _make_folder()
        try:
            work = asyncio.create_task(self._work())
            stop = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                stop.cancel()
                work.result()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            await self._end()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        """The first signal ends everything in order, the next at once."""
        if self._stopping.is_set():
            for program in self._programs:
                program.kill()
        self._stopping.set()

    # --- the start -------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._port = _choose_port(self._asked_port)
        redis, api = self._program("redis"), self._program("api")
        connectors = {node: self._program(node) for node in RELAY_PORTS}
        (self._folder / "demo.key").write_text(f"{self._key}\n")
        await self._start_redis(redis)
        orders = await serve_orders(self._network, self._folder / "launcher.sock")
        for node, port in RELAY_PORTS.items():
            self._relays[node] = await self._network.relay(port)
        async with orders:
            await asyncio.gather(
                self._start_api(api),
                *(self._start_connector(node, program) for node, program in connectors.items()),
            )
            await self._until_known(len(connectors))
            self._tell()
            await asyncio.gather(
                _end_is_fatal(redis),
                _end_is_fatal(api),
                *(self._keep(node, program) for node, program in connectors.items()),
            )

    def _program(self, name: str) -> Program:
        program = Program(name, self._folder)
        self._programs.append(program)
        return program

    @property
    def _redis_socket(self) -> Path:
        return self._folder / "redis.sock"

    async def _start_redis(self, redis: Program) -> None:
        try:
            binary = find_server()
        except StartError as error:
            raise LauncherError(str(error)) from None
        folder = self._folder / "redis"
        folder.mkdir()
        settings = configuration(folder, str(self._redis_socket), fsync="no")
        await redis.start([binary.path, "-"], standard_input=settings.encode())
        await redis.wait_for_line("eady to accept connections")

    async def _start_api(self, api: Program) -> None:
        """All but connectors in one process: `twistd push` without listeners for devices."""
        await self._start_daemon(
            api,
            "push",
            connector_ws="",
            connector_wss="",
            http_listen=f"127.0.0.1:{self._port}",
            http_demo="true",
            http_demo_launcher=str(self._folder / "launcher.sock"),
            # Every page of this machine has the same address.
            limits_registrations_per_minute="60",
        )

    async def _start_connector(self, node: str, program: Program) -> None:
        relay = self._relays[node]
        relay.target = 0
        hosts = ("127.0.0.1", "localhost")
        await self._start_daemon(
            program,
            "push-connector",
            connector_ws="127.0.0.1:0",
            connector_wss="",
            connector_admin="",
            connector_public=json.dumps([f"ws://127.0.0.1:{relay.port}/ws"]),
            connector_origins=json.dumps([f"http://{host}:{self._port}" for host in hosts]),
            connector_heartbeat="10",
        )
        relay.target = program.port("ws")

    async def _start_daemon(self, program: Program, tap: str, **settings: str) -> None:
        digest = hashlib.sha256(self._key.encode()).hexdigest()
        scopes = json.dumps(KEY_SCOPES)  # TOML writes lists of texts as JSON does
        chosen = {
            "server_data": str(self._folder / program.name),
            "server_node": program.name,
            "redis_url": f"unix://{self._redis_socket}",
            "connector_tcp": "",
            "connector_tls": "",
            "auth_keys": f'[{{name = "demo", sha256 = "{digest}", scopes = {scopes}}}]',
            **settings,
        }
        # Settings of the person's own shell are for their own server.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PUSH_")}
        environment |= {f"PUSH_{name.upper()}": value for name, value in chosen.items()}
        await program.start([_twistd(), "-n", "--pidfile=", tap], environment)
        await program.wait_for_line("] ready")

    async def _until_known(self, connectors: int) -> None:
        """The API has seen them in the registry."""
        request = urllib.request.Request(
            f"{self._url}/v1/nodes", headers={"Authorization": f"Bearer {self._key}"}
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                while await asyncio.to_thread(_count_connectors, request) < connectors:
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise LauncherError("the connectors were not registered in time") from None

    # --- while it runs ---------------------------------------------------------------------------

    def _tell(self) -> None:
        url = f"{self._url}/demo"
        key = f"export PUSH_KEY=$(cat {shlex.quote(str(self._folder / 'demo.key'))})"
        taken = "" if self._port == (self._asked_port or DEFAULT_PORT) else _taken(self._port)
        print(
            f"\n  The demo is ready: {url}\n{taken}\n"
            "  Open it in a second window too: the two can write to each other.\n"
            f"  The curl lines on the page need the key of this run: {key}\n"
            "  Ctrl-C ends everything; nothing is kept.\n",
            flush=True,
        )
        if self._opens_browser and _has_display():
            webbrowser.open(url)

    async def _keep(self, node: str, program: Program) -> None:
        """Start a connector again whenever it has ended: it was drained."""
        failures = 0
        while True:
            status = await program.ended()
            self._relays[node].target = 0
            failures = failures + 1 if status else 0
            if failures >= MOST_FAILURES:
                raise LauncherError(f"{node} ended again and again: {program.last_words()}")
            await asyncio.sleep(RESTART_SECONDS)
            await self._start_connector(node, program)

    # --- the end ---------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Redis is the last, so that the others can write what they owe."""
        self._network.close()
        first = [program for program in self._programs if program.name != "redis"]
        await asyncio.gather(*(program.stop() for program in first))
        await asyncio.gather(*(program.stop() for program in self._programs))
        shutil.rmtree(self._folder, ignore_errors=True)


async def _end_is_fatal(program: Program) -> None:
    status = await program.ended()
    raise LauncherError(f"{program.name} has ended with status {status}: {program.last_words()}")


def _make_folder() -> Path:
    """For this user only."""
    folder = Path(tempfile.mkdtemp(prefix="push-demo-"))
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="push-demo-", dir="/tmp"))
    return folder


def _choose_port(asked: int | None) -> int:
    """The port of the page. One that was asked for is used or refused."""
    try:
        return _bindable(asked or DEFAULT_PORT)
    except OSError as error:
        if asked is None:
            return _bindable(0)
        if error.errno == errno.EADDRINUSE:
            raise LauncherError(f"port {asked} is taken: choose another with --port") from None
        raise LauncherError(f"port {asked}: {error.strerror}") from None


def _bindable(port: int) -> int:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("127.0.0.1", port))
        found: int = trial.getsockname()[1]
        return found


def _taken(port: int) -> str:
    return f"  (Port {DEFAULT_PORT} is taken, so it is on {port}; --port chooses one.)\n"


def _twistd() -> str:
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    if found is None:
        raise LauncherError("twistd was not found beside this Python")
    return found


def _has_display() -> bool:
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _count_connectors(request: urllib.request.Request) -> int:
    """Those that a browser can use; 0 while the API does not answer."""
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            nodes = json.load(answer)["nodes"]
    except (urllib.error.URLError, OSError, ValueError):
        return 0
    return sum(1 for node in nodes if node["addresses"])

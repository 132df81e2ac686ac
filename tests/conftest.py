"""What every test may use: a real Redis, a wait for conditions, and two nets under each test.

Tests on the reactor are written `@pytest_twisted.ensureDeferred async def test_…`. A test that
leaves a delayed call or an unexpected logged error behind fails (pytest-twisted does not look).
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import HealthCheck, settings
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from benchmarks import running
from benchmarks.running import Running, started_server
from push.daemons.embedded_redis.binary import command_line, configuration, find_server
from push.redis.client import RedisClient as OurRedis
from push.redis.connection.url import parse_store_url
from tests import cheaper, warm
from tests.amounts import amount
from tests.lanes import LongestFirst, in_order, is_slow, path_in_ids
from tests.waiting import DEADLINE_SECONDS, WaitUntil, wait_for, wait_until

running.start_program = warm.start
# The same examples everywhere, however long the machine takes for one.
settings.register_profile(
    "push",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=amount(60, 500),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("push")
# What `make test` was given is not for a `make` that a test starts.
for _variable in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS", "JOBS"):
    os.environ.pop(_variable, None)
# A shell that starts a run in the background lets it ignore Ctrl-C: so would every program of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
cheaper.set_up()
NO_SKIP = os.environ.get("PUSH_TEST_NO_SKIP", "") not in ("", "0")


# --- Redis -------------------------------------------------------------------------------------


class RedisServer:
    """A real Redis server on a unix socket, for tests to use and to hurt."""

    def __init__(self, fsync: str = "no", extra_configuration: str = "") -> None:
        # Not under pytest's tmp_path: its paths are too long for a unix socket.
        self.folder = Path(tempfile.mkdtemp(prefix="push-test-redis-"))
        self.socket_path = str(self.folder / "redis.sock")
        self.url = f"unix://{self.socket_path}"
        self._configuration = (
            configuration(self.folder, self.socket_path, fsync=fsync) + extra_configuration
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start on the data of the last run and return when it answers."""
        assert not self.running, "the server runs already"
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                command_line(find_server()), stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        assert self._process.stdin is not None
        self._process.stdin.write(self._configuration.encode())
        self._process.stdin.close()
        wait_for(lambda: not self.running or self._answers(), "Redis answers", look_seconds=0.005)
        assert self.running, (self.folder / "redis.log").read_text()

    def _answers(self) -> bool:
        try:
            return self.call("PING").startswith(b"+PONG")
        except OSError:
            return False

    def call(self, *command: str | bytes) -> bytes:
        """One command over a connection of its own; the first bytes of the answer, unparsed."""
        words = [word.encode() if isinstance(word, str) else word for word in command]
        request = b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%b\r\n" % (len(word), word) for word in words
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_SECONDS)
            connection.connect(self.socket_path)
            connection.sendall(request)
            return connection.recv(65536)

    def stop(self) -> None:
        """SIGTERM, and wait for the end: everything written is on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(DEADLINE_SECONDS)

    def ensure_empty(self) -> None:
        """Whatever the last test did to it: running, resumed and without data."""
        if not self.running:
            self.start()
        self.resume()
        self.call("FLUSHALL")

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def standing_still(
    server: RedisServer, *clients: OurRedis, patience_seconds: float = 0.5
) -> Iterator[None]:
    """The server answers nothing, and its `clients` wait for it no longer than this.

    Only now: where calls always have so little time, those of a slow machine fail.
    """

    def wait_no_longer_than(seconds: float, client: OurRedis) -> None:
        client.timeout_seconds = seconds
        for connection in client._connections:
            connection._timeout_seconds = seconds

    usual = [client.timeout_seconds for client in clients]
    server.pause()
    for client in clients:
        wait_no_longer_than(patience_seconds, client)
    try:
        yield
    finally:
        for seconds, client in zip(usual, clients, strict=True):
            wait_no_longer_than(seconds, client)
        server.resume()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that tests share. One that is stopped or killed by a test is started again."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the shared server, which runs and is empty."""
    redis_server.ensure_empty()
    return redis_server.url


@pytest.fixture
def make_redis() -> Iterator[Callable[..., RedisServer]]:
    """Makes started servers of the test's own: `make_redis(fsync="always")`."""
    servers: list[RedisServer] = []

    def make(fsync: str = "no", extra_configuration: str = "") -> RedisServer:
        server = RedisServer(fsync, extra_configuration)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.remove()


# --- A started server --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def push_server() -> Iterator[Running]:
    """`twistd push` as a real process on free ports with an embedded Redis, for a whole module."""
    with started_server() as running:
        yield running


# --- Waiting -----------------------------------------------------------------------------------


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> WaitUntil:
    """`await wait_until(condition)`: returns the first true value; see `tests/waiting.py`."""
    return wait_until


# --- Connections of ours to Redis ----------------------------------------------------------------


@pytest_twisted.async_yield_fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[OurRedis]]]:
    """`await connect(url, timeout_seconds=1)`: started, and usable unless `ready=False`."""
    from twisted.internet import reactor

    servers: list[OurRedis] = []

    async def make(url: str, *, ready: bool = True, **options: Any) -> OurRedis:
        server = OurRedis(reactor, parse_store_url(url), **options)
        servers.append(server)
        server.start()
        if ready:
            await wait_until(lambda: server.problem is None)
        return server

    yield make
    await deferLater(reactor, 0)  # out of the stack of a stop in the test
    for server in servers:
        await server.stop()


@pytest.fixture
def usable() -> Callable[[OurRedis], Awaitable[Any]]:
    """`await usable(server)`: both connections are up."""
    return lambda server: wait_until(lambda: server.problem is None)


# --- Nets --------------------------------------------------------------------------------------


class LoggedErrors:
    """Collects critical events and failures, and gives up those that a test expected."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical or event.get("log_failure") is not None:
            self.events.append(event)

    def flush(self, *types: type[BaseException]) -> list[LogEvent]:
        """Take out the events with a failure of `types` (any event, when none is given)."""
        gc.collect(1)

        def wanted(event: LogEvent) -> bool:
            failure: Failure | None = event.get("log_failure")
            return not types or (failure is not None and failure.check(*types) is not None)

        taken = [event for event in self.events if wanted(event)]
        self.events = [event for event in self.events if not wanted(event)]
        return taken


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    yield errors
    cheaper.collect_failures()
    globalLogPublisher.removeObserver(errors)
    if errors.events:
        pytest.fail("logged: " + "\n".join(_event_text(event) for event in errors.events))


def _event_text(event: LogEvent) -> str:
    failure: Failure | None = event.get("log_failure")
    return (formatEvent(event) or "") + (f"\n{failure.getTraceback()}" if failure else "")


@pytest.fixture
def flush_logged_errors(logged_errors: LoggedErrors) -> Callable[..., list[LogEvent]]:
    """`flush_logged_errors(ValueError)`: these errors were expected; returns their events."""
    return logged_errors.flush


@pytest.fixture
def nothing_older() -> None:
    """The garbage collector sees only what is made from now on: put it before the other fixtures.
    A test that asks it what is left need not look through what thousands of others have made."""
    gc.freeze()


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """The text of every event that is logged during the test, as it grows."""
    lines: list[str] = []

    def collect(event: LogEvent) -> None:
        lines.append(formatEvent(event) or "")

    globalLogPublisher.addObserver(collect)
    yield lines
    globalLogPublisher.removeObserver(collect)


@pytest.fixture(autouse=True)
def no_leftover_calls(logged_errors: LoggedErrors) -> Iterator[None]:
    """Fails a test after which the reactor holds a delayed call that was not there before.

    A call is known by its function, so that a periodic job of a wider fixture may go on.
    """
    from twisted.internet import reactor

    before = [call.func for call in reactor.getDelayedCalls()]
    yield
    # One turn: what the test's end has scheduled for "at once" is not left over.
    if reactor.running and reactor.getDelayedCalls():
        pytest_twisted.blockon(deferLater(reactor, 0))
    left = [call for call in reactor.getDelayedCalls() if call.func not in before]
    text = ", ".join(map(str, left))
    for call in left:
        call.cancel()
    if left:
        pytest.fail(f"delayed calls left in the reactor: {text}")


# --- The run as a whole ------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only the tests of the quick lane")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Ten thousand tests stay until the end: nobody need look for what of them is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """When only the quick lane is asked for, no process loads the files of the slow one."""
    if config.option.quick and is_slow(path_in_ids(collection_path, config.rootpath)):
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    items[:] = in_order(items)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    return cheaper.run_and_tell(item, nextitem) if cheaper.tells_little(item.config) else None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst:
    return LongestFirst(config, log)


def _skips(terminal: Any) -> int:
    return len(terminal.stats.get("skipped", ()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With PUSH_TEST_NO_SKIP=1 a skipped test fails the run (this is how .ci/run works)."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if NO_SKIP and terminal and _skips(terminal) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if NO_SKIP and (skipped := _skips(terminalreporter)):
        terminalreporter.write_line(
            f"PUSH_TEST_NO_SKIP: {skipped} skipped, so the run fails", red=True
        )
    _tell_audited(terminalreporter)


def _tell_audited(terminal: Any) -> None:
    """How much the tests of faults audited, in whatever process they ran."""
    audits = [
        counts
        for report in terminal.stats.get("passed", ())
        for name, counts in report.user_properties
        if name == "audited"
    ]
    if audits:
        messages, deliveries = (sum(counts) for counts in zip(*audits, strict=True))
        terminal.write_line(
            f"faults: {messages:,} messages ({deliveries:,} deliveries) audited {len(audits)} times"
        )

"""The messages that a device or a user gets, for tests that block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from push.sdk.aio import Message, PushClient

WAIT_SECONDS = 10.0


class Inbox:
    """A connected client in a thread of its own, which acknowledges what comes.

    `options` are those of `push.sdk.aio.PushClient`. Use it in a `with` block: it is connected when
    the block begins, so that nothing that is pushed from then on is missed.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._taken: set[int] = set()
        self._connected = False
        self._error: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    @property
    def messages(self) -> list[Message]:
        """All that came, in the order in which they came."""
        with self._changed:
            return list(self._messages)

    def wait(
        self,
        matches: Callable[[Message], bool] = lambda message: True,
        timeout_seconds: float = WAIT_SECONDS,
    ) -> Message:
        """The first message that matches and that no earlier call returned; waits for it.

        Raises AssertionError, with what came instead.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                for index, message in enumerate(self._messages):
                    if index not in self._taken and matches(message):
                        self._taken.add(index)
                        return message
                left = deadline - time.monotonic()
                if self._error is not None or left <= 0:
                    raise AssertionError(self._nothing(timeout_seconds)) from self._error
                self._changed.wait(left)

    def _nothing(self, timeout_seconds: float) -> str:
        why = f"within {timeout_seconds:g} s" if self._error is None else f"({self._error})"
        new = [m for index, m in enumerate(self._messages) if index not in self._taken]
        came = "".join(f"\n  {m.stream} {m.kind or 'push'} {m.data!r}" for m in new)
        return f"no message that matches came {why}; others that came:{came or ' none'}"

    # --- Life -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop,), name="push inbox", daemon=True
        )
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._error, WAIT_SECONDS)
            connected, error = self._connected, self._error
        if not connected:
            self.close()
            raise error or TimeoutError(f"no session within {WAIT_SECONDS:g} s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session. What came stays readable."""
        if self._loop is None or self._thread is None:
            return
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- In the thread --------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._task = loop.create_task(self._receive())
            loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass  # by `close`
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            loop.close()

    async def _receive(self) -> None:
        async with PushClient(**self._options) as client:
            await client.wait_connected()
            with self._changed:
                self._connected = True
                self._changed.notify_all()
            async for message in client:
                with self._changed:
                    self._messages.append(message)
                    self._changed.notify_all()

"""What will be known later, without an event loop or a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """A value or an error, once: whatever comes after the first changes nothing."""

    __slots__ = ("_callbacks", "_error", "_values", "done")

    def __init__(self) -> None:
        self.done = False
        self._values: list[T] = []
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Pending[T]], None]] = []

    @classmethod
    def failed(cls, error: Exception) -> Pending[T]:
        pending = cls()
        pending.fail(error)
        return pending

    @classmethod
    def resolved(cls, value: T) -> Pending[T]:
        pending = cls()
        pending.resolve(value)
        return pending

    @property
    def error(self) -> Exception | None:
        return self._error

    def result(self) -> T:
        """The value. Raises the error."""
        assert self.done, "not known yet"
        if self._error is not None:
            raise self._error
        return self._values[0]

    def resolve(self, value: T) -> None:
        if not self.done:
            self._values.append(value)
            self._finish()

    def fail(self, error: Exception) -> None:
        if not self.done:
            self._error = error
            self._finish()

    def then(self, callback: Callable[[Pending[T]], None]) -> None:
        """Call it with this object when it is done; at once if it is."""
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def _finish(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


class Waiters(Generic[T]):
    """All who wait for the same thing."""

    def __init__(self) -> None:
        self._pending: list[Pending[T]] = []

    def join(self) -> Pending[T]:
        pending: Pending[T] = Pending()
        self._pending = [*(each for each in self._pending if not each.done), pending]
        return pending

    def resolve(self, value: T) -> None:
        waiting, self._pending = self._pending, []
        for each in waiting:
            each.resolve(value)

    def fail(self, error: Exception) -> None:
        waiting, self._pending = self._pending, []
        for each in waiting:
            each.fail(error)

"""Methods of the HTTP client, made from the functions that build its calls."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from push.sdk.backend.calls.base import ApiCall

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(Protocol):
    """A client that waits for the answer."""

    def send(self, call: ApiCall[T]) -> T: ...


class Awaiting(Protocol):
    """A client whose answer is awaited."""

    async def send(self, call: ApiCall[T]) -> T: ...


def _like_method(build: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Name, documentation and signature of `build`, with a `self`, for help() and editors."""
    wraps(build)(method)
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # PEP 362
        parameters=[own, *signature.parameters.values()]
    )


def blocking(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[Blocking, P], T]:
    """A method that sends what `build` makes."""

    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    _like_method(build, method)
    return method


def awaited(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[Awaiting, P], Awaitable[T]]:
    """The same for asyncio."""

    async def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    _like_method(build, method)
    return method

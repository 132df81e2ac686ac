"""Waiting for conditions, on the reactor and off it.

One deadline for everything: it costs nothing when things go well, and no machine is so busy that
what works would not come within it. A wait that fails shows what came instead: the values of the
parts of its condition.
"""

from __future__ import annotations

import ast
import dis
import inspect
import linecache
import time
from collections.abc import Awaitable, Callable, Iterator
from types import CodeType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

DEADLINE_SECONDS = 120.0
# How often: soon at first, then less and less, for what takes long anyway. Each look costs
# something, often an answer of a daemon.
LOOK_SECONDS = 0.01
MOST_LOOK_SECONDS = 0.1
LOOK_ON_THE_REACTOR_SECONDS = 0.002
MOST_LOOK_ON_THE_REACTOR_SECONDS = 0.04
GROWTH = 1.2
SHOWN_CHARACTERS = 2000

Condition = Callable[[], Any]
WaitUntil = Callable[..., Awaitable[Any]]


def wait_for(
    condition: Condition,
    what: str | Callable[[], str] = "",
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    look_seconds: float = LOOK_SECONDS,
) -> Any:
    """The first true value of `condition`. A failure says `what` was waited for, and what came."""
    deadline = time.monotonic() + deadline_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(failure(condition, value, what, deadline_seconds))
        time.sleep(look_seconds)
        look_seconds = min(GROWTH * look_seconds, MOST_LOOK_SECONDS)
    return value


async def wait_until(
    condition: Condition,
    what: str | Callable[[], str] = "",
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Any:
    """As `wait_for`, while the reactor runs. `condition` may be async or return a Deferred."""
    from twisted.internet import reactor

    deadline = time.monotonic() + deadline_seconds
    look_seconds = LOOK_ON_THE_REACTOR_SECONDS
    while True:
        value = condition()
        if isinstance(value, Deferred) or inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(failure(condition, value, what, deadline_seconds))
        await deferLater(reactor, look_seconds)
        look_seconds = min(GROWTH * look_seconds, MOST_LOOK_ON_THE_REACTOR_SECONDS)


async def pause(seconds: float) -> None:
    """Let the reactor run. For what must *not* happen meanwhile; wait for conditions otherwise."""
    from twisted.internet import reactor

    await deferLater(reactor, seconds)


# --- What came instead -------------------------------------------------------------------------


def failure(
    condition: Condition,
    value: object,
    what: str | Callable[[], str] = "",
    seconds: float = DEADLINE_SECONDS,
) -> str:
    """What a wait that failed says. `value`: the last one of the condition."""
    source = _source(condition)
    text = (what() if callable(what) else what) or source or repr(condition)
    lines = [f"not within {seconds:g} s: {text}", f"  the last value was {_shown(value)}"]
    lines += [f"  {part} = {_shown(found)}" for part, found in _parts(condition, source)]
    return "\n".join(lines)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"(its repr raised {error!r})"
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[: SHOWN_CHARACTERS // 2]} … {text[-SHOWN_CHARACTERS // 2 :]}"


def _source(condition: Condition) -> str:
    """The expression of a lambda, the text of a function; "" of what is not written in Python."""
    code = getattr(condition, "__code__", None)
    if code is None:
        return ""
    if code.co_name == "<lambda>":
        return _lambda_source(code)
    try:
        return inspect.getsource(condition).strip()
    except OSError:
        return ""


def _lambda_source(code: CodeType) -> str:
    """Exactly its expression: a lambda stands in the middle of a statement."""
    found = [each.positions for each in dis.get_instructions(code) if each.opname != "RESUME"]
    starts = [(p.lineno, p.col_offset) for p in found if p and p.lineno and p.end_col_offset]
    ends = [(p.end_lineno, p.end_col_offset) for p in found if p and p.lineno and p.end_col_offset]
    if not starts:
        return ""
    (first, start), (last, end) = min(starts), max(ends)
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    return " ".join(line.decode().strip() for line in lines)


def _parts(condition: Condition, source: str) -> Iterator[tuple[str, Any]]:
    """What a condition is made of, evaluated once more; for a function, the names that it closes
    over. Nothing of what would have to be awaited."""
    if getattr(condition, "__code__", None) is None:
        return
    closed = inspect.getclosurevars(condition)
    names = {**closed.builtins, **closed.globals, **closed.nonlocals}
    defaults = inspect.signature(condition).parameters.values()
    names |= {each.name: each.default for each in defaults if each.default is not each.empty}
    if condition.__code__.co_name != "<lambda>":
        yield from closed.nonlocals.items()
        return
    try:
        expression = ast.parse(f"({source})", mode="eval").body
    except SyntaxError:
        return
    for part in _operands(expression):
        text = ast.unparse(part)
        try:
            value = eval(compile(ast.Expression(part), "<condition>", "eval"), names)
        except Exception as error:
            value = error
        if inspect.iscoroutine(value):
            value.close()
        elif not isinstance(value, Deferred):
            yield text, value


def _operands(node: ast.expr) -> Iterator[ast.expr]:
    """The parts of a comparison or a combination that say more than "false"."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _operands(value)
    elif isinstance(node, ast.UnaryOp):
        yield from _operands(node.operand)
    elif isinstance(node, ast.Compare):
        for operand in (node.left, *node.comparators):
            yield from _operands(operand)
    elif isinstance(node, ast.Call) and _is_wrapper(node):
        yield from _operands(node.args[0])
    elif not _is_literal(node):
        yield node


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _is_wrapper(node: ast.Call) -> bool:
    """`len(x)`, `set(x)`: x says more."""
    is_known = isinstance(node.func, ast.Name) and node.func.id in {"len", "set", "sorted", "bool"}
    return is_known and len(node.args) == 1 and not node.keywords

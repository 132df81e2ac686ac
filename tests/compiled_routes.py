"""Routes of HTTP are compiled once in a process of tests, and not by each site or daemon in it.

Werkzeug reads a route and compiles functions that build its addresses: in 20 to 60 ms for all
routes of a site. Nothing of ours calls those, and a run makes two thousand sites and hundreds of
daemons.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from werkzeug.routing import Map, Rule

from push.http.framework.route import _ROUTE, Route

# What `Rule.compile` makes of a route of this text, without what belongs to one rule.
_compile = Rule.compile
_compiled: dict[str, dict[str, Any]] = {}


def set_up() -> None:
    # mypy takes no function for a method of a class that is there already.
    Rule.compile = _compile_once  # type: ignore[method-assign]


def compile_all() -> None:
    """Those of all classes that are imported, for the processes that are forked from this one."""
    from push.http.framework.middleware import _PARAMETER  # not for each process of tests

    routes = Map(merge_slashes=False)
    for route in _imported():
        routes.add(Rule(_PARAMETER.sub(r"<\1>", route.path)))


def _compile_once(rule: Rule) -> None:
    assert not rule.defaults, "they are compiled in"
    if rule.rule not in _compiled:
        _compile(rule)
        names = ("_parts", "_trace", "_converters", "arguments")
        _compiled[rule.rule] = {name: getattr(rule, name) for name in names}
    vars(rule).update(_compiled[rule.rule])


def _imported() -> Iterator[Route]:
    modules = [each for name, each in sys.modules.items() if name.startswith("push.http.")]
    for module in modules:
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                for member in vars(kind).values():
                    if isinstance(member, FunctionType) and _ROUTE in vars(member):
                        yield vars(member)[_ROUTE]

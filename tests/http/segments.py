"""Segments of a path that mean something to URLs, Redis or terminals, and how each is refused."""

from __future__ import annotations

from collections.abc import Iterator

INVALID = (
    ".",
    "..",
    "%2e",
    "%2e%2e",
    ".%2E",
    "%2F",
    "%2f",
    "%5C",
    "a%2Fb",
    "..%2Fb",
    "a%5cb",
    "a%252Fb",
    "a" * 129,
    ";",
    "a;b",
    "a\\b",
    "%00",
    "a%00",
    "%0d%0a",
    "a%0A",
    "a%20b",
    "%7F",
    "a%1bb",
    "%E2%80%AE",
    "a%C3%A9",
    "%",
    "%zz",
    "%2",
)
MALFORMED = ("%ff", "a%80", "%C3", "%ED%A0%80", "%C0%AE%C0%AE", "%F8%88%80%80%80")
EMPTY = ("",)

NASTY = (
    *((segment, "invalid") for segment in INVALID),
    *((segment, "malformed") for segment in MALFORMED),
    *((segment, "") for segment in EMPTY),  # another path: not_found or method_not_allowed
)


def nasty_paths(template: str, good: dict[str, str]) -> Iterator[tuple[str, str]]:
    """`/v1/users/{user}/…` with each nasty segment in each place, and the code it must get."""
    for name, value in good.items():
        if f"{{{name}}}" not in template:
            continue
        for segment, code in NASTY:
            path = template.replace(f"{{{name}}}", segment)
            for other, other_value in good.items():
                path = path.replace(f"{{{other}}}", other_value)
            yield path, code
        assert value not in dict(NASTY)

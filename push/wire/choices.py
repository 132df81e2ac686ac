"""Which values a field may have, where it has a few: what msgspec does not say of a wrong one."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import inspect

_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[[^\]]*\]")
_NUMBER = re.compile(r"\[\d+\]")


def is_wrong_choice(message: str) -> bool:
    """Whether msgspec's message says that a value is none of those that a field may have."""
    return message.startswith("Invalid enum value")


def choices_at(kind: object, path: str) -> str:
    """The values allowed at `path` ("types[0]") of a `kind`, as "a, b, c"; "" where any is."""
    return _choices_at(kind, _NUMBER.sub("[]", path))


@lru_cache(maxsize=256)
def _choices_at(kind: object, path: str) -> str:
    infos = _alternatives(inspect.type_info(kind))
    for step in _STEP.finditer(path if path.startswith(("[", ".")) or not path else f".{path}"):
        infos = [each for info in infos for each in _inside(info, step["name"])]
    values = [
        str(value)
        for info in infos
        if isinstance(info, inspect.LiteralType)
        for value in info.values
    ]
    return ", ".join(dict.fromkeys(values))


def _inside(info: inspect.Type, name: str | None) -> list[inspect.Type]:
    """The types of a field, or (no `name`) of the items."""
    if name is not None and isinstance(info, inspect.StructType):
        return [
            each
            for field in info.fields
            if field.encode_name == name
            for each in _alternatives(field.type)
        ]
    if name is None and isinstance(info, inspect.CollectionType):
        return _alternatives(info.item_type)
    if name is None and isinstance(info, inspect.DictType):
        return _alternatives(info.value_type)
    return []


def _alternatives(info: inspect.Type) -> list[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        return _alternatives(info.type)
    if isinstance(info, inspect.UnionType):
        return [each for one in info.types for each in _alternatives(one)]
    return [info]

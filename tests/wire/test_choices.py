"""A value that is none of the few that a field may have: the refusal names those."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

import push.wire.api
from push.http.framework.request_reading import read_query
from push.wire.api.operate.series import SeriesQuery
from push.wire.choices import choices_at
from push.wire.errors import RequestError
from push.wire.reading import decoder_for


def _structs() -> dict[str, type[msgspec.Struct]]:
    found: dict[str, type[msgspec.Struct]] = {}
    for module in pkgutil.walk_packages(push.wire.api.__path__, "push.wire.api."):
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and issubclass(each, msgspec.Struct):
                found[f"{each.__module__}.{each.__name__}"] = each
    return found


def _chosen(info: inspect.Type) -> tuple[list[Any], bool] | None:
    """The choices of a field, and whether it is a list of them."""
    match info:
        case inspect.Metadata():
            return _chosen(info.type)
        case inspect.UnionType():
            return next((found for each in info.types if (found := _chosen(each))), None)
        case inspect.LiteralType():
            return list(info.values), False
        case inspect.CollectionType():
            inner = _chosen(info.item_type)
            return None if inner is None else (inner[0], True)
    return None


def _fields() -> Iterator[tuple[str, str]]:
    for name, kind in sorted(_structs().items()):
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        for field in info.fields:
            if _chosen(field.type) is not None:
                yield name, field.encode_name


@pytest.mark.parametrize(("struct", "field"), list(_fields()))
def test_a_wrong_choice_is_answered_with_the_right_ones(struct: str, field: str) -> None:
    kind = _structs()[struct]
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    chosen = _chosen(next(each.type for each in info.fields if each.encode_name == field))
    assert chosen is not None
    values, is_list = chosen
    wrong: object = 98765 if isinstance(values[0], int) else "wrong" * 100
    body = json.dumps({field: [wrong] if is_list else wrong}).encode()
    with pytest.raises(RequestError) as caught:
        decoder_for(kind)(body)
    place = f"{field}[0]" if is_list else field
    assert (caught.value.code, caught.value.field) == ("invalid", place)
    detail = str(caught.value)
    assert all(str(value) in detail for value in values)
    assert "wrongwrong" not in detail


def test_there_are_fields_to_try() -> None:
    assert len(list(_fields())) > 5


def test_a_wrong_choice_in_a_query() -> None:
    with pytest.raises(RequestError, match=r"`name`: expected one of .*pushes"):
        read_query(b"/v1/series?name=pushe", SeriesQuery)


def test_where_anything_may_stand_there_are_no_choices() -> None:
    assert choices_at(dict[str, int], "[...]") == ""
    assert choices_at(SeriesQuery, "node") == ""
    assert choices_at(SeriesQuery, "no_such_field.at.all[3]") == ""

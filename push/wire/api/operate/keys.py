"""API keys: made, listed and revoked while the deployment runs."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct, field

from push.wire.api.common import Name, Unconfirmed, check_names, null

Scope = Literal["push", "read", "admin", "register", "chat"]
ALL_SCOPES: tuple[Scope, ...] = ("push", "read", "admin", "register", "chat")
KeySource = Literal["file", "config", "made"]

# Of an answer: a client reads those of a later server, too.
ScopeList = Annotated[
    list[str], Meta(extra_json_schema={"items": {"type": "string", "enum": list(ALL_SCOPES)}})
]
KeyName = Annotated[Name, Meta(description="what it is called in lists and logs")]


class KeyBody(Struct, forbid_unknown_fields=True, frozen=True):
    """A key to make."""

    name: KeyName
    scopes: Annotated[
        list[Scope], Meta(min_length=1, max_length=len(ALL_SCOPES), description="what it may do")
    ]
    expires: (
        Annotated[
            int,
            Meta(ge=1, le=2**53 - 1, description="ms since 1970 UTC; absent: until it is revoked"),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        check_names("name", self.name)


class NewKey(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key that is valid from now on. `silent` is absent when every process has confirmed it."""

    name: str
    scopes: ScopeList
    key: Annotated[str, Meta(description="the key itself: it is told once, and kept nowhere")]
    expires: int | None = field(default_factory=null)
    silent: Unconfirmed = []


class Key(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key that is valid now, without the key itself. Times: milliseconds since 1970 UTC."""

    name: str
    scopes: ScopeList
    source: Annotated[
        str,
        Meta(
            extra_json_schema={"enum": list(get_args(KeySource))},
            description=(
                "`made` by HTTP, or of this process: a `file` in its data folder, or in its "
                "`config`uration"
            ),
        ),
    ]
    created: Annotated[int | None, Meta(description="null: not known")] = field(
        default_factory=null
    )
    expires: Annotated[int | None, Meta(description="null: it has no end")] = field(
        default_factory=null
    )
    used: Annotated[int | None, Meta(description="when it was used last; null: not known")] = field(
        default_factory=null
    )


class KeyPage(Struct, frozen=True):
    """A page of keys, in the order of their names. `cursor` asks for the next one; null: this is
    the last."""

    keys: list[Key]
    cursor: str | None = None

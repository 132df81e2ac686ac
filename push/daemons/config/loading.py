"""Settings from a TOML file, then `PUSH_<SECTION>_<KEY>` variables, then options.

Each source gives entries: a section, a key, what was written, and where, for the error line. Every
entry is checked by itself, also one that a later source overrides. The first problem raises
SettingsError with one line that names the source and the key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, get_args, get_type_hints

import msgspec
from msgspec import inspect

from push.daemons.config.bounds import fit_together
from push.daemons.config.errors import SettingsError
from push.daemons.config.section import Section
from push.daemons.config.settings import (
    KEY_NAME_PATTERN,
    NODE_NAME_PATTERN,
    SECTION_TYPES,
    Settings,
)
from push.wire.choices import choices_at, is_wrong_choice
from push.wire.idents import NAME_RULE

# Sections of the contract whose features come later: a variable for one is a mistake, not somebody
# else's variable.
LATER_SECTIONS: frozenset[str] = frozenset()
# Kubernetes gives every container such variables for a service that is named push-connector.
_KUBERNETES = re.compile(r"(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
# Set for pushctl, it does not keep a daemon from starting in the same shell.
_OF_PUSHCTL = "PUSH_SERVER"
# Never repeated in an error line: it may hold a password.
_SECRET = frozenset({("redis", "url"), ("webhooks", "endpoints")})


class _Kind(Protocol):
    """A type of `value_types.py`."""

    @classmethod
    def parse(cls, value: object) -> object: ...


class SettingKey(NamedTuple):
    """One setting, as defined in `push.daemons.config.settings`."""

    section: str
    name: str
    type: object
    default: object
    help: str

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"PUSH_{self.section}_{self.name}".upper()

    @property
    def option(self) -> str:
        return f"{self.section}-{self.name}".replace("_", "-")

    @property
    def expects(self) -> str:
        """What a right value is, in words; "" for the kinds that say so themselves."""
        return _expects(self.type)


def _keys() -> Iterator[SettingKey]:
    for section, section_type in SECTION_TYPES.items():
        hints = get_type_hints(section_type, include_extras=True)
        for field in msgspec.structs.fields(section_type):
            hint = hints[field.name]
            yield SettingKey(section, field.name, hint, field.default, _description(hint))


def _description(hint: object) -> str:
    """The `description` among the metadata of an `Annotated` type."""
    _, *metadata = get_args(hint)
    descriptions: list[str | None] = [meta.description for meta in metadata]
    return next(text for text in descriptions if text is not None)


def _expects(hint: object) -> str:
    info = inspect.type_info(hint)
    while isinstance(info, inspect.Metadata):
        info = info.type
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            limits = {(True, True): f"{low} … {high}", (True, False): f">= {low}"}
            return f"a whole number {limits.get((low is not None, high is not None), '')}".rstrip()
        case inspect.LiteralType():
            return "one of " + ", ".join(get_args(get_args(hint)[0]))
        case inspect.VarTupleType(item_type=inspect.LiteralType(values=values)):
            return "a list of " + ", ".join(f'"{value}"' for value in values)
        case inspect.VarTupleType():
            return "a list"
        case inspect.StrType(pattern=None):
            return "text" if info.min_length is None else "text that is not empty"
        case inspect.StrType(pattern=pattern) if pattern in (KEY_NAME_PATTERN, NODE_NAME_PATTERN):
            return f"a name: {NAME_RULE}"
        case inspect.StrType(pattern=pattern):
            return f"text like {pattern}"
    return ""


KEYS: dict[tuple[str, str], SettingKey] = {(key.section, key.name): key for key in _keys()}
SECTIONS: tuple[str, ...] = tuple(SECTION_TYPES)


class SettingValue(NamedTuple):
    """One value that somebody wrote."""

    source: str
    section: str
    name: str
    value: object
    # Variables and options are text whatever the type; a file has types of its own.
    is_text: bool


def load(
    *,
    config_file: str | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    defaults: Mapping[tuple[str, str], Any] | None = None,
) -> Settings:
    """All settings. `options` are by `Key.option`; `defaults` replace those of the definitions."""
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    given: dict[tuple[str, str], str] = {}
    for entries in (
        [SettingValue("default", *key, value, False) for key, value in (defaults or {}).items()],
        read_file(config_file) if config_file else (),
        read_environment(environment or {}),
        read_options(options or {}),
    ):
        for entry in entries:
            values[entry.section][entry.name] = _convert(entry)
            if entry.source != "default":
                given[entry.section, entry.name] = entry.source.split(": [", 1)[0]
    sections: dict[str, Any] = {
        name: section_type(**values[name]) for name, section_type in SECTION_TYPES.items()
    }
    return fit_together(Settings(**sections, sources=given), given.keys())


def read_file(path: str) -> Iterator[SettingValue]:
    """The entries of a TOML file, whose tables are sections."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: it nests too deep") from None
    except ValueError:  # what Python says of an integer that it does not convert
        raise SettingsError(f"{path}: a number has too many digits") from None
    for section, table in document.items():
        if section not in SECTIONS:
            guess = _guess(section, SECTIONS, "[{}]")
            what = f"[{section}]" if isinstance(table, dict) else section
            raise SettingsError(f"{path}: {what} is not a section{guess}")
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {section} is a section: write [{section}] and keys below")
        for name, value in table.items():
            if (section, name) not in KEYS:
                guess = _guess(name, _names(section))
                raise SettingsError(f"{path}: [{section}] {name} is not a setting{guess}")
            yield SettingValue(f"{path}: [{section}] {name}", section, name, value, False)


def read_environment(environment: Mapping[str, str]) -> Iterator[SettingValue]:
    """The entries of `PUSH_<SECTION>_<KEY>` variables; variables of other names are not ours."""
    for variable in sorted(environment):
        prefix, _, rest = variable.partition("_")
        section, _, name = rest.partition("_")
        section, key = section.lower(), name.lower()
        if prefix != "PUSH" or variable == _OF_PUSHCTL:
            continue
        if section not in LATER_SECTIONS.union(SECTIONS):
            guess = _guess(section, SECTIONS)
            if guess and name:
                raise SettingsError(f"environment: {variable}: {section} is no section{guess}")
            continue
        if (section, key) in KEYS:
            yield SettingValue(variable, section, key, environment[variable], True)
        elif not _KUBERNETES.fullmatch(name):
            guess = _guess(variable, [known.variable for known in KEYS.values()])
            raise SettingsError(f"environment: {variable} is not a setting of this version{guess}")


def read_options(options: Mapping[str, str]) -> Iterator[SettingValue]:
    """The entries of options that were given, by name without the leading dashes."""
    by_option = {key.option: key for key in KEYS.values()}
    for option, text in options.items():
        key = by_option[option]
        yield SettingValue(f"--{option}", key.section, key.name, text, True)


def _names(section: str) -> list[str]:
    return [name for in_section, name in KEYS if in_section == section]


def _guess(word: str, known: Iterable[str], shape: str = "{}") -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f"; did you mean {shape.format(close[0])}?" if close else ""


def _convert(entry: SettingValue) -> object:
    key = KEYS[entry.section, entry.name]
    value = _list_in_text(str(entry.value)) if entry.is_text else entry.value
    try:
        return msgspec.convert(value, key.type, strict=not entry.is_text, dec_hook=_parse_kind)
    except msgspec.ValidationError as error:
        shown = ""
        if isinstance(value, str | int | float) and (key.section, key.name) not in _SECRET:
            shown = f" = {_shorten(str(entry.value) if entry.is_text else _written(value))}"
        raise SettingsError(f"{entry.source}{shown}: {_explain(key, str(error))}") from None


def _written(value: str | float) -> str:
    try:
        return repr(value)
    except ValueError:  # more digits than Python writes; hexadecimal ones are read without limit
        return "a number of too many digits"


def _list_in_text(text: str) -> object:
    """A list in a variable or option is a TOML value; everything else is the text itself."""
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            pass  # "[::1]:8080" is text too
    return text


def _parse_kind(kind: type[_Kind], value: object) -> object:
    return kind.parse(value)


def _explain(key: SettingKey, problem: str) -> str:
    """msgspec's message in the words of a configuration: what was expected, and where in a list."""
    text, _, path = problem.partition(" - at `$")
    if is_wrong_choice(text) and (choices := choices_at(key.type, path.rstrip("`"))):
        text = f"expected one of {choices}"
    if not path and key.expects:
        return f"expected {key.expects}"
    text = text.replace("`", "")
    text = text[:1].lower() + text[1:]
    return f"{key.name}{path.rstrip('`')}: {text} ({key.help})" if path else text


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def as_toml(value: object) -> str:
    """A value as it is written in the file. Tables inside lists are written inline."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Section():
            pairs = msgspec.structs.asdict(value).items()
            return "{" + ", ".join(f"{name} = {as_toml(item)}" for name, item in pairs) + "}"
        case Collection():
            return "[" + ", ".join(map(as_toml, value)) + "]"
    raise TypeError(f"no TOML for {value!r}")

"""Errors in the words of the command line: the options and arguments that were typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

from push.pushctl.terminal import output
from push.sdk.errors import (
    BadCredentials,
    ConfigurationError,
    CredentialsExpired,
    InvalidData,
    PushAPIError,
    PushAPIUnreachable,
    PushError,
    RequestRefused,
    Stopped,
    UnknownToken,
)
from push.wire.api.push_targets import PUSH_TARGETS

# Exit statuses; 1 is every other failure.
USAGE = 2  # the command line itself is wrong
INTERRUPTED = 130  # Ctrl-C
# What Python puts around a reason, as `[Errno 2] ` and ` (_ssl.c:1006)`.
_AROUND_REASON = re.compile(r"\[(?:Errno -?\d+|SSL|X509|SSL: \w+|X509: \w+)\] | \(_ssl\.c:\d+\)")
# How OpenSSL's versions put it that the other side does not speak TLS.
_NOT_TLS = ("wrong version number", "record layer failure", "packet length too long")
_NUMBER = re.compile(r"-\.?\d")
_NO_ID = " cannot name "  # between the id and what it should name
_INDEX = re.compile(r"\[\d+\]")
_ARGUMENT = re.compile(r"^(?P<name>\w+)(?P<value> (?:'.*?'|\".*?\"))?: (?P<why>.*)$", re.DOTALL)
_REQUEST = re.compile(r"^[A-Z]+ \S+?: (?P<why>.*)$", re.DOTALL)
_QUOTED = re.compile(r"`(\w+)`")
# What the SDK calls something, where an option has another name.
_OPTION_OF = {"servers": "--server", "servers_url": "--url"}


class Failure(click.ClickException):
    """One clear line on standard error, exit status 1. `members` are for programs."""

    def __init__(
        self, message: str, code: str = "failed", *, hint: str = "", **members: object
    ) -> None:
        """`hint` is for people only."""
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.members = members

    def report(self, *, json: bool) -> None:
        output.print_error(self.message, self.code, json=json, hint=self.hint, **self.members)


class WrongValue(Failure):
    """A value on the command line that can be nothing: exit status 2."""

    exit_code = USAGE

    def __init__(self, message: str) -> None:
        super().__init__(message, "usage")


class Interrupted(Failure):
    """Ended by Ctrl-C or a signal, with something to say: exit status 130."""

    exit_code = INTERRUPTED

    def __init__(self, message: str) -> None:
        super().__init__(message, "interrupted")


def json_problem(error: Exception, raw: bytes) -> str:
    """Why `raw` is not JSON, or not what it should be, from what msgspec said of it."""
    if not raw.strip():
        return "it is empty"
    if isinstance(error, RecursionError):
        return "it nests too deep"
    why = str(error).removeprefix("JSON is malformed: ")
    return {"Input data was truncated": "it ends too early"}.get(why, why)


def explain(error: Exception) -> str:
    """What went wrong, without the class and the errno."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def report_usage(error: click.ClickException, *, json: bool) -> None:
    """A wrong command line, and where its help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "pushctl"
    detail = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption) and _NUMBER.match(error.option_name):
        detail += " DATA that begins with - comes after --, as in: -- -5"
    output.print_error(detail, "usage", json=json, hint=f" (see '{path} --help')")


def translated(
    error: PushError,
    command: click.Command | None,
    given: Mapping[str, Any],
    *,
    url: str,
    key_origin: str,
) -> Failure:
    """An error of the SDK in a command, to which the values `given` were given.

    `url`: how the API's address was given; `key_origin`: where the key is from, "" for none.
    """
    if isinstance(error, PushAPIError):
        return _of_answer(error, command, key_origin, url)
    if isinstance(error, PushAPIUnreachable):
        found = _REQUEST.match(str(error))
        why = _AROUND_REASON.sub("", found["why"] if found else str(error))
        if "https://" in url and any(mark in why.lower() for mark in _NOT_TLS):
            why = "this server does not speak TLS here: use http://"
        elif "http://" in url and "without sending a response" in why:
            why = f"{why.rstrip('.')}; if it speaks TLS there: use https://"
        more = "; --ca-file gives the CA to trust" if "certificate verify" in why else ""
        return Failure(f"{url}: {why}{more}", "unreachable")
    if isinstance(error, InvalidData) and "surrogate" in str(error):
        return WrongValue("an argument is not UTF-8")
    if isinstance(error, ConfigurationError | InvalidData) and _NO_ID in str(error):
        named = _name_of_value(str(error).partition(_NO_ID)[0], command, given)
        return WrongValue(f"{named}{error}")
    if isinstance(error, ConfigurationError | InvalidData):
        return _of_configuration(str(error), command, key_origin)
    text = _in_options(" ".join(str(error).split()), command)
    if isinstance(error, Stopped):
        return Failure(_stopped_text(error, text), error.code or "stopped")
    code = error.code if isinstance(error, RequestRefused) else "connection_failed"
    return Failure(text, code)


def _of_answer(
    error: PushAPIError, command: click.Command | None, key_origin: str, url: str
) -> Failure:
    detail = error.detail
    if error.field is not None:
        shown = _name_of(error.field, command)
        quoted = f"`{error.field}`"
        if shown is not None and quoted in detail:
            detail = detail.replace(quoted, shown)
        elif shown is not None:
            detail = f"{shown}: {detail}"
    if (error.code == "malformed" and error.status < 400) or error.code.startswith("http_"):
        # Not in the form of the API: something else answers there, or a proxy in front of it.
        detail = f"{url}: is this a push server? {detail}"
    if error.status == 401:
        detail = f"{detail}; {_about_key(key_origin)}"
    members = {"status": error.status, "field": error.field, "retry_after": error.retry_after}
    given = {name: value for name, value in members.items() if value is not None}
    hint = f" ({error.code}, HTTP {error.status})"
    return Failure(detail or "no reason was given", error.code, hint=hint, **given)


def _about_key(origin: str) -> str:
    if not origin:
        return "no key was sent: give --key or --key-file"
    text = f"the key is from {origin}"
    if origin.endswith(".key"):
        text += (
            " (with [auth] keys in the server's configuration the *.key files of a first start are "
            "no longer valid: give one of those keys with --key or --key-file)"
        )
    return text


def _of_configuration(text: str, command: click.Command | None, key_origin: str) -> Failure:
    found = _ARGUMENT.match(text)
    if found is None:
        return WrongValue(_in_options(text, command))
    name, value, why = found["name"], found["value"] or "", _AROUND_REASON.sub("", found["why"])
    shown = key_origin if name == "key" else _name_of(name, command) or name
    if name == "ca_file":  # the value may be right, and the file is not there
        return Failure(f"{shown}{value}: {why}")
    return WrongValue(f"{shown}{value}: {why}")


def _stopped_text(error: Stopped, text: str) -> str:
    said = ": ".join(part for part in (error.code, error.detail) if part)
    said = f" ({said})" if said else ""
    match error:
        case UnknownToken():
            return f"the server does not know this token; `pushctl register` makes a new one{said}"
        case CredentialsExpired():
            return f"the JWT of --jwt has expired{said}"
        case BadCredentials():
            return f"the server refused --credentials, --token and --secret, or --jwt{said}"
    return text


def _in_options(text: str, command: click.Command | None) -> str:
    """The SDK quotes its arguments; here they are options."""
    return _QUOTED.sub(lambda found: _name_of(found[1], command) or found[0], text)


def _name_of(field: str, command: click.Command | None) -> str | None:
    """What was typed for a member of a body, a part of a path or an argument of the SDK."""
    name = _INDEX.sub("", field)
    if name in _OPTION_OF:
        return _OPTION_OF[name]
    if name.startswith("to."):
        name = _singular(name.removeprefix("to."))
        candidates = [f"--to-{name}", f"--{name}"]
    else:
        name = name.partition(".")[0].lower().replace("-", "_")
        candidates = ["--" + name.replace("_", "-")]
    for parameter in command.params if command is not None else ():
        if name == "url" and parameter.expose_value and parameter.metavar == "URL":
            return shown_name(parameter)  # of the body; --url is where it was sent
        if isinstance(parameter, click.Option):
            if any(candidate in parameter.opts for candidate in candidates):
                return shown_name(parameter)
        elif parameter.name in (name, name.removesuffix("s"), f"{name}s"):
            return shown_name(parameter)
    return None


def _name_of_value(shown: str, command: click.Command | None, given: Mapping[str, Any]) -> str:
    """The argument that has this value, and a space; nothing when it is in a file."""
    for parameter in command.params if command is not None else ():
        value = given.get(parameter.name or "")
        values = value if isinstance(value, tuple) else (value,)
        if any(shown == ascii(each) for each in values):
            return f"{shown_name(parameter)} "
    return ""


def shown_name(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name


def _singular(name: str) -> str:
    singular = {target.name: target.singular for target in PUSH_TARGETS}.get(name)
    return singular or name

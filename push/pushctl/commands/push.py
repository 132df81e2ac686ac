"""`pushctl push` and `pushctl batch`: messages to devices."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.errors import Failure, WrongValue, explain, json_problem
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.targets import push_target, push_target_options
from push.sdk.backend import BatchItem, PushAPI, PushResult
from push.sdk.encoding import encode_json
from push.sdk.errors import InvalidData, PushError

MAX_BATCH_ITEMS = 1000
MAX_BATCH_BYTES = 8 * 1024 * 1024  # the server takes twice as much, and the items get keys
BEGINS_JSON = (b"{", b"[", b'"')
MAX_TTL_SECONDS = 2**31 - 1


@click.command("push")
@click.argument("data", required=False)
@push_target_options
@click.option(
    "--ttl",
    type=click.IntRange(0, MAX_TTL_SECONDS),
    metavar="SECONDS",
    help="How long it is kept; 0: only for sessions online now.",
)
@click.option("--qos", type=click.IntRange(0, 1), help="0: at most once; 1 (default): at least.")
@click.option(
    "--collapse", metavar="NAME", help="Replace the message with this name that still waits."
)
@click.option("--title", help="Title of a notification.")
@click.option("--body", help="Text of a notification.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Pushed again with KEY within 24 h, it stays one message. [default: a random one]",
)
@click.option("--text", is_flag=True, help="DATA is text, also when it looks like JSON.")
@yes_option
@common_options
@click.pass_obj
def push(
    common: Common,
    /,
    data: str | None,
    ttl: int | None,
    qos: int | None,
    collapse: str | None,
    title: str | None,
    body: str | None,
    idempotency_key: str | None,
    text: bool,
    yes: bool,
    **targets: object,
) -> None:
    """Push DATA to devices, users, a topic, a group, an address or everyone.

    DATA is JSON, or text when it does not begin like JSON; @FILE reads a file, - reads standard
    input, as does no DATA without --title and --body. Standard input must not be empty; '' and an
    empty file are an empty text. What is not UTF-8 is sent as base64. Put -- before DATA that
    begins with -, as -5. A push to everyone asks first.

    \b
    Examples:
      pushctl push --all --yes '{"news": 1}'
      pushctl push --to-token 01J… --title Hello --body 'How are you?' '{}'
      pushctl push --to-user ada --to-user bob --ttl 600 @message.json
      pushctl push --to-topic news '{"text": "It rains"}'
      pushctl push --to-group 03DMV9EK31WTE= --collapse score '{"score": "2:1"}'
      pushctl push --to-ip 10.0.0.0/8 'We move to the new building'
      pushctl push --to-user ada --idempotency-key order-17 '{"order": 17}'
      date | pushctl push --to-user ada --text
    """
    to = push_target(targets)
    value, encoding = read_data(data, text, optional=title is not None or body is not None)
    with common.api() as api:
        if "all" in to:
            ask_first(yes, lambda: _everyone(api))
        result = api.push(
            to=to,
            data=value,
            encoding=encoding,
            ttl=ttl,
            qos=qos,
            collapse=collapse,
            title=title,
            body=body,
            idempotency_key=idempotency_key,
        )
    _print_push(common, result)


def _print_push(common: Common, result: PushResult) -> None:
    common.print_done(f"{result.id}: streams {result.streams}, online {result.online}", result)
    if result.unknown:
        raise Failure(
            f"unknown: {', '.join(result.unknown)}", "unknown_token", unknown=result.unknown
        )
    common.fail_if_silent(result.silent)


@click.command("batch")
@click.argument("file", metavar="FILE")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Items without a key of their own get KEY and their number: the same file with the same "
    "KEY can be pushed again within 24 h. [default: random ones]",
)
@yes_option
@common_options
@click.pass_obj
def batch(common: Common, file: str, idempotency_key: str | None, yes: bool) -> None:
    """Push what is in FILE: an array of pushes, or one push a line; - is standard input.

    A push is as for POST /v1/push: {"to": {"user": "ada"}, "data": 1}. All of FILE must be JSON
    objects, or nothing is pushed. Items that fail are named, with their number from 1, and the
    others are pushed. With --json there is a line for each item.

    \b
    Examples:
      pushctl batch pushes.json
      pushctl batch pushes.jsonl --idempotency-key weekly-48
      pushctl batch pushes.jsonl --json | jq 'select(.status != 202)'
    """
    items = _read_items(file)
    if idempotency_key is not None:
        items = [
            {"idempotency_key": f"{idempotency_key}-{number}", **item}
            for number, item in enumerate(items, 1)
        ]
    with common.api() as api:
        if any(isinstance(each.get("to"), dict) and "all" in each["to"] for each in items):
            ask_first(yes, lambda: _everyone(api))
        _push_items(common, api, items)


def read_data(data: str | None, text: bool, *, optional: bool) -> tuple[Any, str | None]:
    """The value to push and its encoding. Without DATA a notification needs no input.

    Text that begins like JSON is refused when it is not JSON: it is a typing error, and a receiver
    would see half an object.
    """
    if data is None and optional:
        return None, None
    if data is None and sys.stdin.isatty():
        raise click.UsageError("DATA is missing: give it, @FILE, or - for standard input")
    raw = _read_raw(data)
    if not text:
        try:
            return msgspec.json.decode(raw), None
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if raw.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(BEGINS_JSON):
                raise WrongValue(
                    f"DATA begins like JSON and is not: {json_problem(error, raw)}; give --text "
                    "to send it as text"
                ) from None
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), "base64"


def _read_raw(data: str | None) -> bytes:
    if data is None or data == "-":
        raw = sys.stdin.buffer.read()
        if not raw:  # a command before this one that failed, or a script without a terminal
            raise click.UsageError("standard input is empty: give DATA ('' for an empty text)")
        return raw
    if not data.startswith("@"):
        return data.encode("utf-8", "surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except (OSError, ValueError) as error:
        raise Failure(f"@{data[1:]}: {explain(error)}") from None


def _everyone(api: PushAPI) -> str:
    """With the number of devices online, if the key may read it; others are not counted."""
    try:
        sessions = api.stats().get("sessions")
    except PushError:
        sessions = None
    if not isinstance(sessions, int):
        return "This goes to every registered device."
    online = output.counted(sessions, "device")
    return f"This goes to every registered device, {online} of them online now."


# --- a file of pushes --------------------------------------------------------------------------


def _read_items(file: str) -> list[dict[str, Any]]:
    """Raises `WrongValue` that names the line for what is not JSON objects."""
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        raise Failure(f"{file}: {explain(error)}") from None
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    items: list[Any]
    if raw.lstrip().startswith(b"["):
        try:
            items = msgspec.json.decode(raw)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            why = json_problem(error, raw)
            raise WrongValue(f"{file}: {why}; nothing was pushed") from None
        places = [f"item {number}" for number in range(1, len(items) + 1)]
    else:
        items, places = [], []
        for number, line in enumerate(raw.split(b"\n"), 1):
            if line.strip():
                items.append(_read_line(line, f"{file} line {number}"))
                places.append(f"line {number}")
    for item, place in zip(items, places, strict=True):
        if not isinstance(item, dict):
            raise WrongValue(f"{file} {place}: not a JSON object; nothing was pushed")
        try:
            encode_json(item, "item")
        except InvalidData as error:
            raise WrongValue(f"{file} {place}: {error}; nothing was pushed") from None
    if not items:
        raise WrongValue(f"{file}: no pushes in it")
    return items


def _read_line(line: bytes, place: str) -> object:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        why = json_problem(error, line)
        raise WrongValue(f"{place}: {why}; nothing was pushed") from None


def _push_items(common: Common, api: PushAPI, items: list[dict[str, Any]]) -> None:
    done = failed = 0
    silent: set[str] = set()
    for chunk in _chunks(items):
        try:
            results = api.push_batch(chunk)
        except PushError as error:
            if done:
                common.notice(f"{done} of {len(items)} were pushed before", pushed=done)
            raise error from None
        for number, result in enumerate(results, done + 1):
            failed += not result.ok
            silent.update(result.silent)
            _print_result(common, number, result)
        done += len(chunk)
        if done < len(items):
            common.notice(
                f"{done} of {len(items)}, {failed} failed", done=done, of=len(items), failed=failed
            )
    if not common.json:
        output.say(f"{len(items) - failed} of {len(items)} pushed")
    if failed:
        raise Failure(f"{failed} of {len(items)} failed", "partial", failed=failed, of=len(items))
    common.fail_if_silent(silent)


def _chunks(items: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """As many at once as a request may have."""
    chunk: list[dict[str, Any]] = []
    size = 0
    for item in items:
        added = len(msgspec.json.encode(item))
        if chunk and (len(chunk) == MAX_BATCH_ITEMS or size + added > MAX_BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += added
    if chunk:
        yield chunk


def _print_result(common: Common, number: int, result: BatchItem) -> None:
    if common.json:
        fields = msgspec.to_builtins(result).items()
        said = {name: value for name, value in fields if value not in (None, [])}
        output.print_json({"item": number, **said})
    elif not result.ok:
        output.say(f"item {number}: {result.detail or 'refused'} ({result.code})")

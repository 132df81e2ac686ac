"""Pages for people: plain HTML with a style of its own, nothing loaded, nothing that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from shlex import quote
from typing import Any

import msgspec

from push.http.framework.problems import ERRORS
from push.http.framework.route import App
from push.wire.errors import STATUS_OF_CODE

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5c6878; --line: #d9dfe7;
  --page: #fff; --box: #f5f7fa; --accent: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --soft: #9aa7b8; --line: #323c4a;
  --page: #14191f; --box: #1d242d; --accent: #6fb1ff; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 54rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { margin-top: 2.6rem; font-size: 1.25rem; }
h3 { margin: 0; font-size: 1rem; } h4 { margin: 1rem 0 .3rem; color: var(--soft); }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
code, pre { font: .88em/1.5 ui-monospace, monospace; }
code { background: var(--box); padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
pre { background: var(--box); padding: .8rem 1rem; border-radius: 8px; overflow-x: auto; }
pre code { padding: 0; background: none; }
table { border-collapse: collapse; width: 100%; font-size: .94rem; }
td code { overflow-wrap: break-word; }
td, th { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
section.operation { border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem;
  margin: 1.1rem 0; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700; color: var(--accent); }
.soft { color: var(--soft); }
@media (max-width: 40rem) { td .method { display: block; } section.operation { padding: .8rem; } }
"""


def _page(title: str, *parts: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _text(text: str) -> str:
    """Escaped, with `words` in back-quotes as code."""
    parts = text.split("`")
    return "".join(
        _code(part) if index % 2 else escape(part, quote=False) for index, part in enumerate(parts)
    )


def _code(text: str) -> str:
    """Escaped, as code that a narrow page breaks before a slash or after `_`, not within a word."""
    return f"<code>{re.sub('(?<=.)(?=/)|(?<=_)', '<wbr>', escape(text, quote=False))}</code>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    lines = ["<tr>" + "".join(f"<th>{name}</th>" for name in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"


# The pages of every daemon, and what they are.
LINKS = (
    ("/docs", "the HTTP interface, to read"),
    ("/openapi.json", "the same for programs (OpenAPI 3.1)"),
    ("/errors", "what each error code means"),
    ("/push.js", "the JavaScript client"),
    ("/healthz", "whether the process lives"),
    ("/readyz", "whether it can work"),
    ("/metrics", "metrics for Prometheus"),
)


def index_page(title: str, version: str, apps: Sequence[App]) -> str:
    """What a daemon without a console answers at `/`."""
    served = ", ".join(
        app.name
        for app in apps
        if any(
            path.startswith("/v1/") for path in (*(each.path for each in app.routes), *app.beside)
        )
    )
    return _page(
        f"{title} {version}",
        f"<p>This port serves {escape(served)}.</p>" if served else "",
        _table(
            ("page", "what it is"), ((f'<a href="{path}">{path}</a>', text) for path, text in LINKS)
        ),
    )


def errors_page() -> str:
    rows = (
        (
            f'<a href="/errors/{code}">{_code(code)}</a>',
            str(STATUS_OF_CODE[code]),
            _text(text.meaning),
        )
        for code, text in ERRORS.items()
    )
    return _page(
        "Error codes",
        "<p>Answers that are not a success are <code>application/problem+json</code> (RFC 9457); "
        "<code>code</code> is one of these and does not change, <code>detail</code> is for people. "
        'Devices get the same codes. <a href="/docs">All operations</a></p>',
        _table(("code", "status", "meaning"), rows),
    )


def error_page(code: str) -> str:
    text = ERRORS[code]
    status = STATUS_OF_CODE[code]
    return _page(
        text.title,
        f'<p class="soft"><code>{code}</code> · HTTP status {status}</p>',
        f"<h2>What it means</h2><p>{_text(text.meaning)}</p>",
        f"<h2>What to do</h2><p>{_text(text.remedy)}</p>",
        '<p><a href="/errors">All codes</a> · <a href="/docs">All operations</a></p>',
    )


def pretty_json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


# --- the documentation, from the OpenAPI document ------------------------------------------------


# The address of the server in the examples of a page that is made once.
_ORIGIN = "http://push.invalid"


def told_to(origin: str, page: str) -> str:
    """A page of `docs_page` for a client that knows this server as `origin`.

    The address is text that a client sent, and a reader pastes it into a shell, in quotes.
    """
    return page.replace(_ORIGIN, escape(origin.replace("'", "'\\''")))


def docs_page(document: dict[str, Any]) -> str:
    schemas = document["components"]["schemas"]
    parts = [f"<p>{_text(document['info']['description'])}</p>", _contents(document)]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2><p>{_text(tag['description'])}</p>")
        for path, method, operation in _operations(document):
            if operation["tags"] == [tag["name"]]:
                parts.append(_operation(path, method, operation))
    parts.append("<h2>Types</h2>")
    parts += [_schema(name, schema) for name, schema in schemas.items()]
    info = document["info"]
    return _page(f"{info['title']} {info['version']}: HTTP", *parts)


def _operations(document: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _contents(document: dict[str, Any]) -> str:
    rows = (
        (
            f'<a href="#{operation["operationId"]}"><span class="method">{method}</span>'
            f"{_code(path)}</a>",
            _text(operation["summary"]),
            _needed(operation),
        )
        for path, method, operation in _operations(document)
    )
    return _table(("operation", "what it does", "scope"), rows)


def _needed(operation: dict[str, Any]) -> str:
    """The scope, as HTML."""
    if not operation["security"]:
        return "–"
    return " ".join(map(_code, _scopes(operation))) or "any key"


def _scopes(operation: dict[str, Any]) -> list[str]:
    return [scope for way in operation["security"] for scope in way["key"]]


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f'<section class="operation" id="{operation["operationId"]}">',
        f'<h3><span class="method">{method}</span> {_code(path)}</h3>',
        f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>",
    ]
    scopes = _scopes(operation)
    if scopes:
        parts.append(f'<p class="soft">Needs a key with the scope {_text(f"`{scopes[0]}`")}.</p>')
    if "parameters" in operation:
        parameters = (
            (_code(p["name"]), p["in"], _kind(p["schema"]), _text(p["description"]))
            for p in operation["parameters"]
        )
        parts.append("<h4>Parameters</h4>" + _table(("name", "in", "type", "meaning"), parameters))
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        parts.append(f"<h4>Body: {_kind(content['schema'])}</h4>")
        example = _curl(method, path, content["example"])
        parts.append(f"<pre><code>{escape(example)}</code></pre>")
    rows = (
        (f"<code>{status}</code>", _answer_kind(answer), _text(answer["description"]))
        for status, answer in operation["responses"].items()
    )
    parts.append("<h4>Answers</h4>" + _table(("status", "type", "meaning"), rows) + "</section>")
    return "\n".join(parts)


def _curl(method: str, path: str, example: object) -> str:
    body = json.dumps(example, ensure_ascii=False)
    return (
        f"curl -X {method} '{_ORIGIN}{path}' \\\n"
        '  -H "Authorization: Bearer $(cat push-data/admin.key)" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d {quote(body)}"
    )


def _answer_kind(answer: dict[str, Any]) -> str:
    for media, content in answer.get("content", {}).items():
        return _kind(content["schema"]) if "json" in media else escape(media)
    return "–"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words, as HTML; a named one as a link."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#type-{name}">{name}</a>'
    for union in ("oneOf", "anyOf"):
        if union in schema:
            return " or ".join(_kind(part) for part in schema[union])
    if "const" in schema:
        return f"<code>{json.dumps(schema['const'])}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{json.dumps(value)}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}{_bounds(schema, 'Items')}"
    if schema.get("type") == "string":
        return f"string{_bounds(schema, 'Length')}"
    if schema.get("type") == "integer":
        return f"integer{_bounds(schema, 'imum')}"
    return str(schema.get("type", "any JSON value"))


def _bounds(schema: dict[str, Any], what: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if high is not None:
        return f", {low or 0:,} to {high:,}"
    return f", at least {low:,}" if low else ""


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (
            f"{_code(field)}{'' if field in required else '?'}",
            _kind(part),
            _text(part.get("description", ""))
            + (f" (default {json.dumps(part['default'])})" if part.get("default") else ""),
        )
        for field, part in schema.get("properties", {}).items()
    )
    return (
        f'<section class="operation" id="type-{name}"><h3>{name}</h3>'
        f"<p>{_text(schema.get('description', ''))}</p>"
        + _table(("field", "type", "meaning"), rows)
        + "</section>"
    )

"""Everything the SDK raises. One root, `PushError`, so that an application can catch the lot.

`Stopped` and its children are final: the client does not reconnect by itself. The others concern
one call. Where Python has a usual class for a mistake of the caller (`ValueError`, `TypeError`,
`RuntimeError`), ours is also one of that class.
"""

from __future__ import annotations


class PushError(Exception):
    """Root of all errors of the SDK."""


class ConfigurationError(PushError, ValueError):
    """The client was given something that cannot work; the message names it."""


class InvalidData(PushError, ValueError):
    """The application gave something that JSON, or the API, has no form for: NaN, half a surrogate
    pair, an integer over 64 bits, nesting that is too deep, an id that is no id. Nothing was sent.
    """


class InvalidDataType(InvalidData, TypeError):
    """The same for an object of a class that JSON has no form for, such as bytes or a socket."""


class AlreadyStarted(PushError, RuntimeError):
    """A `PushClient` runs once; make another."""


class OtherProcess(PushError, RuntimeError):
    """The client was started before a `fork()`, and this is the child: make another client here."""


class CalledInCallback(PushError, RuntimeError):
    """A call that blocks, in a callback of the same client: it would wait for itself."""


class NothingReceived(PushError, TimeoutError):
    """No message came in the time that was given."""


class ConnectionFailed(PushError):
    """No connection, or it was lost before the answer: not known whether the request was done."""


class CertificateUntrusted(ConnectionFailed):
    """The server's certificate is neither signed by a known CA nor the pinned one."""


class CertificateNotYetValid(CertificateUntrusted):
    """By this machine's clock the server's certificate is not valid yet. That passes: either the
    clock is late and will be set, or the certificate is new.
    """


class RequestRefused(PushError):
    """The server answered a request with no. `code` is one of the contract's."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        field: str | None = None,
        after_seconds: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.field = field
        self.after_seconds = after_seconds


class Stopped(PushError):
    """The client has stopped permanently; `code` and `detail` are the server's where it gave
    some."""

    default = "the server told this client to stop"

    def __init__(self, code: str = "", detail: str = "") -> None:
        said = ": ".join(part for part in (code, detail) if part)
        super().__init__(f"{self.default} ({said})" if said else self.default)
        self.code = code
        self.detail = detail


class NotStarted(Stopped):
    default = "the client was not started: a `with` block does it, in asyncio `async with`"


class ClientClosed(Stopped):
    default = "the application closed this client"


class TakenOver(Stopped):
    default = "a newer connection of the same device took the session over"


class Kicked(Stopped):
    default = "the server sent this client away"


class NotAuthorized(Stopped):
    default = "this client is banned"


class BadCredentials(Stopped):
    default = "the server refused the credentials"


class CredentialsExpired(Stopped):
    default = "the JWT has expired; give `jwt` as a callable to have it renewed"


class UnknownToken(Stopped):
    default = "the server does not know this token; register again (give `key` to have it done)"


class RegistrationFailed(Stopped):
    default = "the server refused the registration"


class ProtocolRejected(Stopped):
    default = "the server and this client do not understand each other"


class ServerUntrusted(Stopped, CertificateUntrusted):
    default = "the server's certificate is not trusted; give `ca_file` or `fingerprint`"


class PushAPIError(PushError):
    """The HTTP API answered with an error. `retry_after` is in seconds."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        *,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        what = f"{detail} " if detail else ""
        super().__init__(f"{what}({code}, HTTP {status})")
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after = retry_after


class PushAPIUnreachable(PushError):
    """No answer came from the HTTP API."""

"""Which HTTP proxy a call of the HTTP API takes, by the usual variables of the environment.

`http_proxy`, `https_proxy` and `all_proxy` name proxies, `no_proxy` what goes without one, in small
or capital letters (small ones win). The connections of devices take no proxy: theirs is no HTTP.
Nothing that is on this machine is asked for at a proxy, which would ask its own machine.
"""

from __future__ import annotations

import importlib.util
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import httpx

from push.sdk.address import check_host
from push.sdk.errors import ConfigurationError

_SOCKS = ("socks5", "socks5h")
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(\d+))?\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address


def proxy_for(url: str) -> str | None:
    """The URL of the proxy for calls to `url` (http or https), or None.

    Raises `ConfigurationError` for a proxy that is no URL or of a kind that is not supported.
    """
    target = urlsplit(url)
    host = (target.hostname or "").rstrip(".").lower()
    variables = getproxies_environment()
    proxy = (variables.get(target.scheme) or variables.get("all") or "").strip()
    if not proxy or _is_here(host):
        return None
    port = target.port or _DEFAULT_PORTS.get(target.scheme)
    if _is_excepted(host, port, variables.get("no", "")):
        return None
    return _checked(proxy, target.scheme)


def _checked(proxy: str, target_scheme: str) -> str:
    name = f"the proxy for {target_scheme} in the environment"
    if "://" not in proxy:
        if ":" not in proxy:  # a word that means nothing here
            raise ConfigurationError(f"{name}: not a URL like http://host:port")
        proxy = f"http://{proxy}"
    try:
        url, parts = httpx.URL(proxy), urlsplit(proxy)
        usable = bool(url.host and parts.hostname) and parts.port != 0 and "]" not in url.host
        check_host(url.raw_host.decode("ascii"))
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable or not proxy.isascii() or not proxy.isprintable() or " " in proxy:
        raise ConfigurationError(f"{name}: not a URL like http://host:port")
    if url.scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            f"{name}: {url.scheme} needs the package `socksio` (pip install 'httpx[socks]'); "
            "or name this API's host in no_proxy"
        )
    if url.scheme not in ("http", "https", *_SOCKS):
        raise ConfigurationError(f"{name}: {url.scheme!r} proxies are not supported")
    return proxy


def _is_here(host: str) -> bool:
    """Whether `host` is this machine: localhost, 127/8, ::1, and other spellings of them."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _address(host: str) -> Address | None:
    """`host` as an address, if it is one: a mapped one as IPv4, `127.1` as resolvers read it."""
    try:
        address: Address = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
        except (OSError, ValueError):
            return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_excepted(host: str, port: int | None, no_proxy: str) -> bool:
    return any(
        _covers(entry.strip().lower(), host, port) for entry in no_proxy.split(",") if entry.strip()
    )


def _covers(entry: str, host: str, port: int | None) -> bool:
    """One entry of `no_proxy`: `*`, a domain (and what is below it), an address or a network, each
    with or without a port. What is none of these covers nothing.
    """
    if entry == "*":
        return True
    name, wanted = entry, None
    if (bracketed := _BRACKETED.match(entry)) is not None:
        name, wanted = bracketed[1], bracketed[2]
    elif entry.count(":") == 1:  # more of them: an IPv6 address
        name, _, wanted = entry.partition(":")
    if wanted and wanted != str(port):
        return False
    try:
        network = ip_network(name.partition("%")[0], strict=False)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    address = _address(host)
    return address is not None and address in network

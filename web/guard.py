"""The outer door: who may be addressed, and from which pages.

Without authentication a server trusts whoever reaches it, so no web page elsewhere may. Two ways
lead there from a browser: a name that an attacker points at this machine (DNS rebinding), which
the Host check stops, and a request or WebSocket sent across sites, which the Origin check stops.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import MissionError
from ..core.settings import Settings
from .failures import refusal

PROBES = ("/health", "/ready")
CLOSE_POLICY_VIOLATION = 1008
AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/\s]+))(?::[0-9]{0,5})?")
HARDENED = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))


class UnsafeSettings(MissionError):
    """The settings would open this server to people who are not asked who they are."""

    code = "UNSAFE_SETTINGS"


def refuse_unsafe(settings: Settings) -> None:
    """Raises `UnsafeSettings` when other machines could come in without authentication."""
    if not (is_loopback(settings.host) or settings.insecure or settings.auth == "tokens"):
        raise UnsafeSettings(
            f"host '{settings.host}' is reachable from other machines, and nobody would be asked"
            " who they are. Listen on 127.0.0.1, ask for tokens (MISSION_AUTH=tokens), or say"
            " --insecure (MISSION_INSECURE=true) if something in front of this server guards it."
        )


class Guard:
    """ASGI middleware: 403 for a foreign machine, Host or Origin.

    A refused WebSocket never opens: its handshake gets the 403. Probes may come by any Host.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = frozenset(
            _host(name) for name in (settings.host, *settings.allowed_hosts)
        ) - {""}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins)
        # A token is sent by no page that was not given it, whatever name it has for this server.
        self._asks = settings.auth == "tokens"
        # A rebound name is a name: addresses are only ever typed by people.
        self._for_others = settings.insecure or self._asks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        why = self._stranger(scope) or self._refusal(scope["path"], headers)
        if why:
            await forbid(why, scope, receive, send)
        else:
            hardened = send if scope["type"] == "websocket" else _hardened(send)
            await self._app(scope, receive, hardened)

    def _stranger(self, scope: Scope) -> str | None:
        """Why the machine that calls may not come in, or None. `refuse_unsafe` cannot know what
        address another program, such as the uvicorn command, listens on for us."""
        caller = (scope.get("client") or ("",))[0]
        if self._for_others or scope["path"] in PROBES or _address(caller) is None:
            return None
        if is_loopback(caller):
            return None
        return (
            "this server asks nobody who they are, so it serves its own machine alone; listen on"
            " 127.0.0.1, set MISSION_AUTH=tokens, or MISSION_INSECURE=true if something in front"
            " of it guards it"
        )

    def _refusal(self, path: str, headers: Headers) -> str | None:
        """Why this request may not come in, or None."""
        host = headers.get("host", "")
        if path not in PROBES and not self._addressed(_host(host)):
            return f"Host '{host[:100]}' is not served here; MISSION_ALLOWED_HOSTS can add it"
        origin = headers.get("origin")
        if origin is not None and not self._same_site(origin.lower(), host.lower()):
            return (
                f"Origin '{origin[:100]}' may not call this server; MISSION_ALLOWED_ORIGINS can"
                " add it"
            )
        # A picture or script of a foreign page names no origin, but browsers say where it is from.
        if origin is None and path not in PROBES and _embedded(headers):
            return "another site's page may link to this server, and not embed what it serves"
        return None

    def _addressed(self, host: str) -> bool:
        if self._asks or host in self._hosts or is_loopback(host):
            return True
        return self._for_others and _address(host) is not None

    def _same_site(self, origin: str, host: str) -> bool:
        # Either scheme will do: behind a proxy that ends TLS the server does not know its own.
        return origin in (f"http://{host}", f"https://{host}") or origin in self._origins


def is_loopback(host: str) -> bool:
    """Whether this name or address always means the machine itself."""
    address = _address(host.strip("[]"))
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@lru_cache(maxsize=256)  # the same few, at every request
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address that `text` is, None when it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _embedded(headers: Headers) -> bool:
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    return site == "cross-site" and mode != "navigate"


def _host(header: str) -> str:
    """The host of `host[:port]`, in lower case, an IPv6 address without its brackets; "" for what
    is not of this form."""
    header = header.strip().lower()
    if _address(header) is not None:
        return header
    found = AUTHORITY.fullmatch(header)
    return (found[1] or found[2].rstrip(".")) if found else ""


def _hardened(send: Send) -> Send:
    """Answers are not to be guessed at, nor framed by other pages."""

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HARDENED]
        await send(message)

    return hardened


async def forbid(detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 403 to a request, or to the handshake of a WebSocket, and say why."""
    denial = "websocket.http.response" in scope.get("extensions", {})
    if scope["type"] == "http" or denial:
        await refusal(scope, 403, detail)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": CLOSE_POLICY_VIOLATION})

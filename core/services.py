"""Services: what plugins share with capabilities and each other, such as clients and indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from .errors import Unavailable


class Services:
    """The services of one server, by name.

    One that is an async context manager is entered as the server starts, and what that gives is
    the service; it is left when the server stops. Any other object is the service itself.
    """

    def __init__(self) -> None:
        self._offered: dict[str, object] = {}
        self._open: dict[str, Any] = {}

    def register(self, name: str, service: object) -> None:
        """Add a service. A name registered twice raises ValueError."""
        if name in self._offered:
            raise ValueError(f"service '{name}' is registered twice; choose another name")
        self._offered[name] = service
        if not isinstance(service, AbstractAsyncContextManager):
            self._open[name] = service

    def get(self, name: str) -> Any:
        """The service of that name.

        Raises:
            KeyError: there is none; the text names the choices.
            Unavailable: it is not open: it failed to start, or the server is not running.
        """
        try:
            return self._open[name]
        except KeyError:
            if name in self._offered:
                raise Unavailable(f"service '{name}' is not open") from None
            choices = ", ".join(sorted(self._offered)) or "none is registered"
            raise KeyError(f"no service '{name}'; there are: {choices}") from None

    async def open(self, name: str) -> None:
        """Enter it. Raises whatever it raises."""
        service = self._offered[name]
        if isinstance(service, AbstractAsyncContextManager) and name not in self._open:
            self._open[name] = await service.__aenter__()

    async def close(self, name: str) -> None:
        """Leave it, where it was entered. Raises whatever it raises."""
        service = self._offered[name]
        if isinstance(service, AbstractAsyncContextManager) and name in self._open:
            del self._open[name]
            await service.__aexit__(None, None, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._offered)

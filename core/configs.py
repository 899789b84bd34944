"""Configs: objects that capabilities register by name and read back where they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ConfigRegistry(Protocol):
    """Where capabilities put their configs. A caller may bring its own."""

    def register(self, name: str, config: Any) -> None:
        """Add a config. A name registered twice raises ValueError."""
        ...

    def get(self, name: str) -> Any:
        """The config of that name. Raises KeyError naming the choices when there is none."""
        ...

    def __iter__(self) -> Iterator[str]: ...


class Configs:
    """The default `ConfigRegistry`: a dictionary that refuses to be overwritten."""

    def __init__(self) -> None:
        self._configs: dict[str, Any] = {}

    def register(self, name: str, config: Any) -> None:
        if name in self._configs:
            raise ValueError(f"config '{name}' is registered twice; choose another name")
        self._configs[name] = config

    def get(self, name: str) -> Any:
        try:
            return self._configs[name]
        except KeyError:
            choices = ", ".join(sorted(self._configs)) or "none is registered"
            raise KeyError(f"no config '{name}'; there are: {choices}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._configs)

"""Chooses and makes the LLM provider that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from ..errors import LLMError, MissionError
from ..settings import Settings
from .mock import MockProvider
from .provider import LLMProvider

ProviderMaker = Callable[[Settings], LLMProvider]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LLMFactory:
    """An `LLMProviderFactory` over the providers that are registered. `mock` always is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._makers: dict[str, ProviderMaker] = {}
        self._owners: dict[str, str] = {}
        self._made: dict[str, LLMProvider] = {}
        self.register("mock", lambda _: MockProvider(), owner="the mission-system package")

    def register(self, name: str, make: ProviderMaker, *, owner: str | None = None) -> None:
        """Offer a provider; `make` is called when it is first used, and then kept.

        `owner` says in messages whose it is, such as `acme-llm 1.2`.

        Raises:
            ValueError: the name is taken; the message names both.
        """
        owner = owner or f"{make.__module__}.{getattr(make, '__qualname__', repr(make))}"
        if name in self._makers:
            raise ValueError(
                f"LLM provider '{name}' is registered twice: by {self._owners[name]} and by "
                f"{owner}; choose another name for one"
            )
        self._makers[name] = make
        self._owners[name] = owner

    def __contains__(self, name: object) -> bool:
        """Whether a provider of that name is registered; making it may still fail."""
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        """The names of the registered providers, in order."""
        return iter(sorted(self._makers))

    def __call__(self, role: str) -> LLMProvider:
        """The provider for a role: today the same one for all, named by `settings.llm_provider`.

        Raises:
            LLMError: kind `unavailable`: no provider has that name, or making it failed.
        """
        name = self._settings.llm_provider
        if name not in self._made:
            self._made[name] = self._make(name, role)
        return self._made[name]

    def _make(self, name: str, role: str) -> LLMProvider:
        if name not in self._makers:
            choices = ", ".join(self)
            raise LLMError(
                "unavailable",
                f"no LLM provider '{name}' (asked for role '{role}'); set MISSION_LLM_PROVIDER to "
                f"one of: {choices}",
            )
        try:
            return self._makers[name](self._settings)
        except MissionError:
            raise
        except Exception as error:
            # Its text is not shown: settings that do not validate are quoted with their secrets.
            _log.error("llm.provider_not_made", provider=name, exc_info=True)
            raise LLMError(
                "unavailable",
                f"LLM provider '{name}' of {self._owners[name]} could not be made "
                f"({type(error).__name__}); the server's log says why",
            ) from error

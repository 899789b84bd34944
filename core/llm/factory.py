"""Chooses and makes the LLM providers that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import structlog

from ..errors import LLMError, MissionError
from ..settings import Settings
from .breaker import Breaker, ProviderStatus
from .guard import GuardedProvider
from .mock import MockProvider
from .origin import origin_of
from .provider import ClosingProvider, LLMProvider
from .roles import LLMTarget, providers_in_use, targets_of
from .route import Route

ProviderMaker = Callable[[Settings], LLMProvider]
CLOSE_SECONDS = 10.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LLMFactory:
    """An `LLMProviderFactory` over the providers that are registered. `mock` always is.

    Roles that share a provider share its limits and its breaker.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._makers: dict[str, ProviderMaker] = {}
        self._owners: dict[str, str] = {}
        self._guarded: dict[str, GuardedProvider] = {}
        self._routes: dict[tuple[LLMTarget, ...], Route] = {}
        self._roles: dict[str, Route] = {}
        self.register("mock", lambda _: MockProvider(), owner="the mission-system package")

    def register(self, name: str, make: ProviderMaker, *, owner: str | None = None) -> None:
        """Offer a provider; `make` is called when it is first used, and what it gives is kept.

        `owner` says in messages whose it is, such as `acme-llm 1.2`.

        Raises:
            ValueError: the name is taken; the message names both.
        """
        function = getattr(make, "func", make)  # of a partial
        owner = owner or f"{function.__module__}.{getattr(function, '__qualname__', function)}"
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
        """What asks the providers of a role, as `llm_roles` and `llm_provider` name them.

        Its calls raise LLMError where a provider is unknown (`invalid`) or cannot be made.
        """
        if role not in self._roles:
            targets = targets_of(self._settings, role)
            if targets not in self._routes:
                timeout = self._settings.llm_timeout_seconds
                self._routes[targets] = Route(targets, self._find, timeout)
            self._roles[role] = self._routes[targets]
        return self._roles[role]

    def breakers(self) -> list[ProviderStatus]:
        """Of the providers that the settings name or that were called, by name."""
        in_use = providers_in_use(self._settings).values()
        named = {name for chain in in_use for name in chain if name in self._makers}
        return [
            self._guarded[name].breaker.status() if name in self._guarded else ProviderStatus(name)
            for name in sorted(named | self._guarded.keys())
        ]

    async def close(self) -> None:
        """Close every provider that was made. One that fails to is logged."""
        for guarded in self._guarded.values():
            if isinstance(provider := guarded.provider, ClosingProvider):
                try:
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await provider.close()
                except Exception as error:  # its text may quote a key or the conversation
                    name = guarded.name
                    _log.error("llm.provider_not_closed", provider=name, **origin_of(error))
        self._guarded.clear()

    def _find(self, name: str) -> LLMProvider:
        if name not in self._guarded:
            if name not in self._makers:
                choices = ", ".join(self)
                raise LLMError(
                    "invalid",  # it will not be there soon
                    f"no LLM provider '{name}'; in MISSION_LLM_PROVIDER and MISSION_LLM_ROLES name"
                    f" one of: {choices}",
                )
            settings = self._settings
            breaker = Breaker(name, settings.llm_breaker_failures, settings.llm_breaker_seconds)
            at_once = settings.llm_concurrency_of.get(name, settings.llm_concurrency)
            self._guarded[name] = GuardedProvider(name, lambda: self._make(name), at_once, breaker)
        return self._guarded[name]

    def _make(self, name: str) -> LLMProvider:
        try:
            return self._makers[name](self._settings)
        except MissionError:
            raise
        except Exception as error:
            # Without its text: settings that do not validate are quoted with their secrets.
            _log.error("llm.provider_not_made", provider=name, **origin_of(error))
            raise LLMError(
                "unavailable",
                f"LLM provider '{name}' of {self._owners[name]} could not be made "
                f"({type(error).__name__}); the server's log says where",
            ) from error

"""What became of each plugin: loaded, or why not and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..core.identity import Caller


class PluginStatus(StrEnum):
    """`failed` may also be set after loading, by `runtime_started`."""

    LOADED = "loaded"
    FAILED = "failed"
    INCOMPATIBLE = "incompatible"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """One plugin. `reason` and `fix` are set unless it is `loaded`.

    `distribution` and `version` are None for a plugin given by the embedding program. The rest
    names what the plugin contributes: nothing when it did not load.
    """

    name: str
    distribution: str | None
    version: str | None
    status: PluginStatus = PluginStatus.LOADED
    reason: str | None = None
    fix: str | None = None
    tools: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    orchestrators: tuple[str, ...] = ()
    graphql: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    event_observers: tuple[str, ...] = ()
    readiness_checks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    llm_providers: tuple[str, ...] = ()
    memory_layers: tuple[str, ...] = ()
    alignment_indicators: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the plugin comes from: `acme-weather 1.2.0`."""
        return (
            f"{self.distribution} {self.version}" if self.distribution else "given by the program"
        )

    @property
    def title(self) -> str:
        """For a sentence: `'weather' (acme-weather 1.2.0)`."""
        return f"'{self.name}' ({self.source})"

    def told(self, caller: Caller) -> tuple[str | None, str | None]:
        """Its reason and fix: they quote whatever its code has raised, which may hold a password,
        so they are for administrators."""
        if self.reason is None or caller.is_admin:
            return self.reason, self.fix
        return "It is not served; the server's log says why.", None

    def __str__(self) -> str:
        told = f"Plugin {self.title}: {self.reason or self.status}"
        return f"{told}\n{self.fix}" if self.fix else told

"""Orchestrators and the replies they give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .errors import InvalidInput
from .events.types import NAMESPACES
from .tower.policy import Decision, check_decisions

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .tower.mission import Mission
    from .tower.process import Quota


@dataclass(frozen=True, slots=True)
class Reply:
    """What an orchestrator answers. `data` (JSON values only) is stored beside the text."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)


Orchestrator = Callable[["Mission"], Awaitable["Reply | str"]]
OnBusy = Literal["queue", "reject", "cancel_previous"]
"""What becomes of a message to a session that is still at work: it waits for its turn, it is
refused, or it ends whatever the session has not finished yet."""


@dataclass(frozen=True, slots=True)
class OrchestratorSpec:
    """A capability's entry point. A process keeps the version it started with.

    `max_concurrent` bounds its running processes on one node; `quota` None means the settings'.
    `on_busy` counts for messages that do not say so themselves.
    `tool_policy` says of tools by name (`*`: of every other) whether they run (`allow`), ask the
    user first (`confirm`) or are refused (`deny`), where the settings' rules say nothing; without
    it those that are not read-only ask. With `on_error` `ask`, the user of a process that failed
    unexpectedly says whether it is tried again from where it was.
    The fields of the pydantic model `state` are the keys of `mission.state`, with their types and
    validators; without it any key holds any JSON.

    Raises:
        ValueError: events of the server begin with `name`, `tool_policy` holds something else, or
            `state` is no model, or one with validators of the whole: keys are written one by one.
    """

    name: str
    function: Orchestrator
    version: int = 1
    max_concurrent: int = 10
    description: str = ""
    quota: Quota | None = None
    tool_policy: Mapping[str, Decision] = field(default_factory=dict[str, "Decision"])
    on_busy: OnBusy = "queue"
    on_error: Literal["end", "ask"] = "end"
    state: type[BaseModel] | None = None

    def __post_init__(self) -> None:
        if self.name.partition(".")[0] in NAMESPACES:
            raise ValueError(
                f"capability '{self.name}': its events would pass for the server's own"
            )
        check_decisions(self.name, self.tool_policy)
        if self.state is not None and not hasattr(self.state, "model_fields"):
            raise ValueError(f"capability '{self.name}': state={self.state!r} is no pydantic model")
        if self.state is not None and self.state.__pydantic_decorators__.model_validators:
            raise ValueError(
                f"capability '{self.name}': state={self.state!r} has a model validator, but its"
                " fields are written one by one; use field validators"
            )


class CapabilityRegistry:
    """The orchestrators being served, by name and version."""

    def __init__(
        self, specs: tuple[OrchestratorSpec, ...] = (), default: str | None = None
    ) -> None:
        self._specs: dict[str, dict[int, OrchestratorSpec]] = {}
        self._default = default
        for spec in specs:
            self.register(spec)

    def register(self, spec: OrchestratorSpec) -> None:
        """Serve it. Raises ValueError: it is served already, or could never run."""
        if spec.version in self._specs.get(spec.name, {}):
            raise ValueError(f"capability '{spec.name}' version {spec.version} is registered twice")
        if spec.max_concurrent < 1:  # its processes would be ready for ever
            raise ValueError(
                f"capability '{spec.name}': max_concurrent={spec.max_concurrent!r} lets none of its"
                " processes run; give 1 or more"
            )
        self._specs.setdefault(spec.name, {})[spec.version] = spec

    def find(self, name: str, version: int) -> OrchestratorSpec | None:
        """Exactly this version, or None."""
        return self._specs.get(name, {}).get(version)

    def choose(self, name: str | None) -> OrchestratorSpec:
        """The newest version of `name`, or of the default, or of the only one there is.

        Raises:
            InvalidInput: the name is unknown, or none was given and there is no clear choice.
        """
        choices = ", ".join(sorted(self._specs)) or "none is installed"
        if name is None:
            if self._default in self._specs:
                name = self._default
            elif len(self._specs) == 1:
                name = next(iter(self._specs))
            else:
                raise InvalidInput("capability", f"name one of: {choices}")
        versions = self._specs.get(name or "")
        if not versions:
            raise InvalidInput("capability", f"'{name}' is not served here; choose from: {choices}")
        return versions[max(versions)]

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[OrchestratorSpec]:
        """The newest version of each capability, by name."""
        for name in sorted(self._specs):
            yield self._specs[name][max(self._specs[name])]

"""Every type of event that the server tells: what is in it, and when it is told.

A capability adds types of its own, `<capability>.<name>`; the namespaces here are closed to them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventType:
    """One type. `payload` names its fields, optional ones with a `?`; `when` is a sentence."""

    name: str
    payload: tuple[str, ...]
    when: str

    @property
    def required(self) -> frozenset[str]:
        return frozenset(field for field in self.payload if not field.endswith("?"))

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(field.removesuffix("?") for field in self.payload)


def _type(name: str, payload: str, when: str) -> EventType:
    return EventType(name, tuple(payload.split()), when)


_TYPES = (
    _type(
        "process.created",
        "capability priority request_id message_id parent_pid? forked_from? steps?",
        "A request was accepted; with `parent_pid`, a process has spawned it; with `forked_from`,"
        " it shares the first `steps` steps of that one.",
    ),
    _type("process.state_changed", "from to reason?", "It moved from one state to another."),
    _type("process.priority_changed", "from to", "It was given another place in line."),
    _type(
        "process.completed",
        "message_id request_id parent_pid? next?",
        "It ended with a reply, stored as that message; with `parent_pid`, for who has spawned it."
        " `next` is the oldest question of the request, where its turn comes because an older one"
        " was closed with this process.",
    ),
    _type(
        "process.failed",
        "reason error request_id parent_pid? next?",
        "It ended without a reply.",
    ),
    _type(
        "process.cancelled",
        "reason request_id parent_pid? next?",
        "It was ended on demand, or with its parent or its session.",
    ),
    _type("stage.started", "stage", "The orchestrator entered a stage."),
    _type("stage.completed", "stage seconds", "It left the stage, without an error."),
    _type("llm.started", "step role attempt", "A model was called."),
    _type("llm.delta", "step attempt offset text", "Text of its reply came, joined for 50 ms."),
    _type(
        "llm.restarted",
        "step attempt",
        "The call starts over; the text of earlier attempts is void.",
    ),
    _type(
        "llm.completed",
        "step attempt tokens_in? tokens_out? model? cost?",
        "The call ended, well or not. All its attempts have taken so much together, the last of"
        " them by that `model`.",
    ),
    _type("tool.called", "step tool arguments", "A tool was called; arguments are cut to fit."),
    _type("tool.completed", "step tool status seconds", "The tool returned or failed."),
    _type(
        "interrupt.raised",
        "interrupt_id kind question options data message_id expires_at behind?",
        "The process asks a person; with `behind`, while that older question of its request is"
        " open.",
    ),
    _type(
        "interrupt.resolved",
        "interrupt_id kind question answer next?",
        "A person has answered; `next` is the oldest question of the request that is still open,"
        " appeals for more of a limit aside.",
    ),
    _type("interrupt.expired", "interrupt_id kind question next?", "Nobody answered in time."),
    _type("resource.warning", "resource used limit", "80 % of a limit are used; told once."),
    _type("resource.exhausted", "resource used limit", "A call would have broken a limit."),
    _type("resource.adjusted", "quota", "Limits were changed: from and to, by name."),
    _type(
        "state.changed",
        "step? capability keys",
        "Working memory was written, by a step or by the user; without values.",
    ),
    _type(
        "breaker.changed",
        "tool from to reason by",
        "A tool's circuit breaker changed its state; `by` is null where the server did it. Told on"
        " the system's stream, to administrators.",
    ),
    _type("chat.session.created", "session", "A session was created."),
    _type("chat.session.updated", "session", "Its title or its archival was changed."),
    _type("chat.session.deleted", "session_id soft", "It was hidden (`soft`) or removed."),
    _type("chat.message.created", "message_id role content", "A message was stored."),
    _type("chat.message.edited", "message_id message", "A user changed a message of their own."),
    _type("chat.message.deleted", "message_id soft", "A message was hidden (`soft`) or removed."),
)

TYPES = {type.name: type for type in _TYPES}
NAMESPACES = frozenset(name.partition(".")[0] for name in TYPES)


class UnknownEventType(Exception):
    """A defect of the server or of a capability: an event that no documentation knows."""


def check_type(name: str) -> None:
    """Raises UnknownEventType unless it is listed here, or is a capability's own."""
    if name in TYPES:
        return
    namespace, _, rest = name.partition(".")
    if not namespace or not rest:
        raise UnknownEventType(f"event type '{name}' has no namespace; name it '<capability>.name'")
    if namespace in NAMESPACES:
        raise UnknownEventType(f"'{namespace}.' is the server's, and has no event '{rest}'")

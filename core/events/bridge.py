"""Our events in the names and shapes that clients of the former WebSocket interface know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..tower.process import ASKED_AS_TEXT
from .event import Event
from .types import NAMESPACES

Payload = dict[str, Any]
LIMIT_REASON = "_exceeded"
_TAKEN = NAMESPACES | {"orchestrator", "pong", "error"}


@dataclass(frozen=True, slots=True)
class Request:
    """The request that an event belongs to, as its client knows it. For what a spawned process
    tells, the request that began it all."""

    pid: str
    request_id: str


def named_by(event: Event) -> Request | None:
    """The request that the first or the last event of its process names: whoever hears of the
    last may find nothing stored any more. None for every other, and for a spawned process."""
    if event.pid is None or event.type not in _ORCHESTRATOR or event.payload.get("parent_pid"):
        return None
    request_id = event.payload.get("request_id")
    return None if request_id is None else Request(event.pid, request_id)


@dataclass(frozen=True, slots=True)
class LegacyEvent:
    """One frame for a former client. `timestamp` is ISO-8601."""

    name: str
    payload: Payload
    timestamp: str

    def as_json(self) -> Payload:
        """Newer clients read `event_type`, older ones `event`."""
        return {
            "event": self.name,
            "event_type": self.name,
            "payload": self.payload,
            "timestamp": self.timestamp,
        }


class EventBridge:
    """Translates, and does nothing else: what it needs to know of an event's request it is told."""

    def translate(self, event: Event, request: Request | None = None) -> LegacyEvent | None:
        """The former event, None where there was none. `request` is needed where `event.pid` is
        set; without it such an event is left out."""
        if event.pid is None:
            translated = _of_session(event)
        elif request is None:
            return None
        elif event.type.startswith("interrupt."):
            translated = _next_question(event, request)
        elif event.pid != request.pid:  # of a spawned process, which its client knows nothing of
            translated = _next_question(event, request) if event.type in _ORCHESTRATOR else None
        else:
            translated = _of_process(event, request)
        if translated is None:
            return None
        name, payload = translated
        return LegacyEvent(name, payload, event.created_at.isoformat())


def _of_session(event: Event) -> tuple[str, Payload] | None:
    shown = _SHOWN_OF_SESSION.get(event.type)
    if shown is None:
        return None
    return event.type, {
        "session_id": event.session_id or event.payload.get("session_id", ""),
        "user_id": event.user_id,
        **{field: event.payload[field] for field in shown},
        "timestamp": event.created_at.isoformat(),
    }


_SHOWN_OF_SESSION: dict[str, tuple[str, ...]] = {
    "chat.session.created": ("session",),
    "chat.session.updated": ("session",),
    "chat.session.deleted": ("soft",),
    "chat.message.edited": ("message_id", "message"),
    "chat.message.deleted": ("message_id", "soft"),
}


def _of_process(event: Event, request: Request) -> tuple[str, Payload] | None:
    if event.type in ("stage.started", "stage.completed"):
        return _stage(event, request)
    if event.type in ("tool.called", "tool.completed"):
        return event.type, {"request_id": request.request_id, **event.payload}
    tell = _ORCHESTRATOR.get(event.type)
    if tell is None:
        return None
    name, more = tell(event)
    return f"orchestrator.{name}", {"request_id": request.request_id, **more}


def _started(event: Event) -> tuple[str, Payload]:
    return "started", {"pid": event.pid}


def _completed(_event: Event) -> tuple[str, Payload]:
    return "completed", {"status": "completed"}  # without the text: clients show the message


def _cancelled(event: Event) -> tuple[str, Payload]:
    return "cancelled", {"reason": event.payload["reason"]}


def _failed(event: Event) -> tuple[str, Payload]:
    reason = str(event.payload["reason"])
    if reason.endswith(LIMIT_REASON):
        return "resource_exhausted", {"reason": reason}
    return "failed", {"error": str(event.payload["error"] or reason)}


_ORCHESTRATOR: dict[str, Callable[[Event], tuple[str, Payload]]] = {
    "process.created": _started,
    "process.completed": _completed,
    "process.failed": _failed,
    "process.cancelled": _cancelled,
}


def spelled_out(question: str, options: Sequence[str]) -> str:
    """A question with what it suggests: former clients are shown a text, and no options."""
    return "\n".join([question, *(f"- {option}" for option in options)])


def _next_question(event: Event, request: Request) -> tuple[str, Payload] | None:
    """Of the questions of a request one at a time, the oldest, as HTTP shows them."""
    if event.type == "interrupt.raised":
        asked = None if event.payload.get("behind") else event.payload
    else:
        asked = event.payload.get("next")
    return None if asked is None else _question(asked, request)


def _question(payload: Payload, request: Request) -> tuple[str, Payload]:
    kind, question, request_id = payload["kind"], payload["question"], request.request_id
    if kind == "confirmation":
        shown = {"confirmation_message": question, "confirmation_id": payload["interrupt_id"]}
        return "orchestrator.confirmation", {"request_id": request_id, **shown}
    if kind in ASKED_AS_TEXT:
        question = spelled_out(question, payload["options"])
        shown = {"clarification_question": question, "thread_id": request.pid}  # as HTTP says it
        return "orchestrator.clarification", {"request_id": request_id, **shown}
    limit = payload["data"] or {}
    return "orchestrator.resource_exhausted", {
        "request_id": request_id,
        "resource": limit.get("resource"),
        "usage": limit.get("used"),
        "quota": limit.get("limit"),
    }


def _stage(event: Event, request: Request) -> tuple[str, Payload] | None:
    stage = str(event.payload["stage"])
    if stage.partition(".")[0] in _TAKEN:
        return None  # it would pass for something else
    what = event.type.removeprefix("stage.")
    return f"{stage}.{what}", {"request_id": request.request_id, **event.payload}

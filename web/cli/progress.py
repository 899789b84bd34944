"""Shows what a process does, from its events, while it does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .terminal import Terminal

Payload = dict[str, Any]
SHOWN = 200


class Progress:
    """Tells of stages and tools, and streams the text of one LLM call at a time."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._step: str | None = None
        self._text = ""
        self._shown: dict[str, Callable[[Payload], None]] = {
            "stage.started": self._stage,
            "tool.called": self._called,
            "tool.completed": self._completed,
            "llm.delta": self._delta,
            "llm.restarted": self._restarted,
            "llm.completed": self._written,
            "interrupt.expired": lambda _: self._line("nobody answered in time"),
            "resource.warning": self._warning,
        }

    def show(self, type: str, payload: Payload) -> None:
        """Show one event, where it is worth showing."""
        if type in self._shown:
            self._shown[type](payload)

    def finish(self, reply: str) -> None:
        """The reply, unless it is what was streamed last."""
        streamed = self._text
        self._end_text()
        if streamed.strip() != reply.strip():
            self._terminal.result(reply)

    def _line(self, text: str) -> None:
        self._end_text()
        self._terminal.tell(text)

    def _stage(self, payload: Payload) -> None:
        self._line(f"- {payload['stage']}")

    def _called(self, payload: Payload) -> None:
        arguments = str(payload["arguments"])
        shown = arguments if len(arguments) <= SHOWN else f"{arguments[:SHOWN]}..."
        self._line(f"  {payload['tool']} {shown}")

    def _completed(self, payload: Payload) -> None:
        if payload["status"] != "success":
            self._line(f"  {payload['tool']}: {payload['status']}")

    def _warning(self, payload: Payload) -> None:
        self._line(f"  {payload['used']} of {payload['limit']} {payload['resource']} used")

    def _delta(self, payload: Payload) -> None:
        if not self._terminal.live or self._step not in (None, payload["step"]):
            return  # calls that run side by side would mix their words
        if self._step is None:
            self._end_text()
            self._step = payload["step"]
        self._terminal.stream(payload["text"])
        self._text += payload["text"]

    def _restarted(self, payload: Payload) -> None:
        if self._step == payload["step"]:
            self._line("(the answer starts over)")

    def _written(self, payload: Payload) -> None:
        # The text stays: whether it was the reply is known only at the end.
        if self._step == payload["step"]:
            self._step = None

    def _end_text(self) -> None:
        if self._text:
            self._terminal.stream("\n")
        self._step, self._text = None, ""

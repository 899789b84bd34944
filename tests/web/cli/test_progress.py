from typing import Any

import pytest

from mission_system.web.cli.progress import Progress
from mission_system.web.cli.terminal import Terminal, printable


class Paper(Terminal):
    """A terminal that keeps what is written to it."""

    def __init__(self, live: bool = True) -> None:
        super().__init__()
        self.is_live = live
        self.out = ""
        self.lines: list[str] = []

    @property
    def live(self) -> bool:
        return self.is_live

    def tell(self, text: str, style: str = "dim") -> None:
        self.lines.append(text)

    def result(self, text: str) -> None:
        self.out += f"{text}\n"

    def stream(self, text: str) -> None:
        self.out += text


def delta(text: str, step: str = "1") -> tuple[str, dict[str, Any]]:
    return "llm.delta", {"step": step, "attempt": 1, "offset": 0, "text": text}


def show(paper: Paper, *events: tuple[str, dict[str, Any]], reply: str) -> Paper:
    progress = Progress(paper)
    for type, payload in events:
        progress.show(type, payload)
    progress.finish(reply)
    return paper


DONE = ("llm.completed", {"step": "1"})


def test_a_streamed_reply_is_written_once() -> None:
    assert show(Paper(), delta("Hel"), delta("lo"), DONE, reply="Hello").out == "Hello\n"


def test_a_reply_that_differs_from_the_stream_is_written_too() -> None:
    assert show(Paper(), delta("a plan"), DONE, reply="Hello").out == "a plan\nHello\n"


def test_outside_a_terminal_only_the_reply_is_written() -> None:
    assert show(Paper(live=False), delta("Hello"), DONE, reply="Hello").out == "Hello\n"


def test_calls_side_by_side_do_not_mix_their_words() -> None:
    events = [delta("one ", "1"), delta("UNO", "2"), delta("two", "1")]
    assert show(Paper(), *events, DONE, reply="one two").out == "one two\n"


def test_a_call_that_starts_over_drops_its_text() -> None:
    restarted = ("llm.restarted", {"step": "1", "attempt": 2})
    paper = show(Paper(), delta("Hal"), restarted, delta("Hello"), DONE, reply="Hello")
    assert paper.out == "Hal\nHello\n"
    assert paper.lines == ["(the answer starts over)"]


def test_stages_tools_and_their_failures_are_told() -> None:
    paper = show(
        Paper(),
        ("stage.started", {"stage": "search"}),
        ("tool.called", {"tool": "grep", "arguments": '{"query":"x"}'}),
        ("tool.completed", {"tool": "grep", "status": "success"}),
        ("tool.called", {"tool": "read", "arguments": "y" * 500}),
        ("tool.completed", {"tool": "read", "status": "timeout"}),
        ("resource.warning", {"resource": "llm_calls", "used": 8, "limit": 10}),
        ("acme.custom", {"whatever": 1}),
        reply="done",
    )
    assert paper.lines == [
        "- search",
        '  grep {"query":"x"}',
        f"  read {'y' * 200}...",
        "  read: timeout",
        "  8 of 10 llm_calls used",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext é 用", "plain\n\ttext é 用"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("\x9b31m", "\ufffd31m"),
        ("over\rwritten\x08\x07", "over\ufffdwritten\ufffd\ufffd"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown

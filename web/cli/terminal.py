"""The person at the terminal: what is told, what is streamed, what is asked."""

from __future__ import annotations

import asyncio
import os
import sys
import unicodedata

from rich.console import Console


class Terminal:
    """Results go to standard output, everything else to standard error, so that
    `mission ask ... > answer.txt` holds the answer and nothing else."""

    def __init__(self) -> None:
        self._out = Console(markup=False, highlight=False, emoji=False)
        self._err = Console(markup=False, highlight=False, emoji=False, stderr=True)

    @property
    def interactive(self) -> bool:
        """Whether there is a person who can answer."""
        return sys.stdin is not None and sys.stdin.isatty()

    @property
    def live(self) -> bool:
        """Whether a reply may be shown while it is being written."""
        return self._out.is_terminal

    def tell(self, text: str, style: str = "dim") -> None:
        """One line about what happens."""
        self._err.print(printable(text), style=style, soft_wrap=True)

    def result(self, text: str) -> None:
        self._out.print(printable(text), soft_wrap=True)

    def stream(self, text: str) -> None:
        """A piece of a result, as it comes."""
        self._out.print(printable(text), end="", soft_wrap=True)
        self._out.file.flush()

    async def read_line(self, prompt: str) -> str | None:
        """What the person types, without the line's end; None when they end the input."""
        self._err.print(printable(prompt), end="", style="bold", soft_wrap=True)
        self._err.file.flush()
        # A reader instead of input() in a thread: Ctrl-C cancels the first, not the second.
        loop = asyncio.get_running_loop()
        line: asyncio.Future[bytes] = loop.create_future()
        keyboard = sys.stdin.fileno()

        def read() -> None:
            loop.remove_reader(keyboard)
            if not line.done():
                line.set_result(os.read(keyboard, 1 << 16))

        loop.add_reader(keyboard, read)
        try:
            typed = await line
        finally:
            loop.remove_reader(keyboard)
        return typed.decode(errors="replace").rstrip("\r\n") if typed else None


def printable(text: str) -> str:
    """`text` without the control characters that could make a terminal do something."""
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) != "Cc" else "\ufffd"
        for character in text
    )

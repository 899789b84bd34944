"""`mission ask`, `questions` and `answer`: talk to the server that runs on a data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Data, Url, User, answer_command

if TYPE_CHECKING:
    from .client import Client
    from .conversation import Conversation
    from .terminal import Terminal


def ask(
    text: Annotated[str, typer.Argument(help="What to ask.")],
    session: Annotated[
        str | None, typer.Option(help="Session to go on with; a new one when not given.")
    ] = None,
    capability: Annotated[str | None, typer.Option(help="Capability to ask.")] = None,
    user: User = None,
    data: Data = None,
    url: Url = None,
) -> None:
    """Ask a running server and show the answer as it comes.

    Ctrl-C cancels the request. Exit codes: 0 answered, 1 failed, 2 could not ask, 3 a question is
    open, 130 cancelled.
    """
    from ..signals import run_stoppable
    from .conversation import INTERRUPTED, Conversation
    from .terminal import Terminal

    options = _given(url=url, data=data, user=user)
    conversation = Conversation(_client(url, data, user), Terminal(), options)
    raise typer.Exit(run_stoppable(conversation.send(text, session, capability), INTERRUPTED))


def answer(
    interrupt: Annotated[str, typer.Argument(metavar="INTERRUPT_ID", help="The open question.")],
    text: Annotated[str, typer.Argument(help="The answer; one of its options where it has some.")],
    user: User = None,
    data: Data = None,
    url: Url = None,
) -> None:
    """Answer a question that a request waits for, and see the request through."""
    from ..signals import run_stoppable
    from .conversation import INTERRUPTED, Conversation
    from .terminal import Terminal

    client = _client(url, data, user)
    conversation = Conversation(client, Terminal(), _given(url=url, data=data, user=user))
    raise typer.Exit(run_stoppable(_answer(client, conversation, interrupt, text), INTERRUPTED))


def list_questions(user: User = None, data: Data = None, url: Url = None) -> None:
    """List the questions that wait for an answer, oldest first."""
    from ..signals import run_stoppable
    from .conversation import INTERRUPTED
    from .terminal import Terminal

    options = _given(url=url, data=data, user=user)
    listing = _list(_client(url, data, user), Terminal(), options)
    raise typer.Exit(run_stoppable(listing, INTERRUPTED))


async def _list(client: Client, terminal: Terminal, options: list[str]) -> int:
    from .questions import open_questions

    found = False
    async for question in open_questions(client):
        found = True
        kind = question.kind.replace("_", " ")
        lines = [f"{question.id} ({kind})", f"? {question.text}", *question.choices]
        terminal.result("\n".join(lines))
    if found:
        terminal.tell(f"answer one with: {answer_command('INTERRUPT_ID', options)}")
    else:
        terminal.tell("no question waits for an answer")
    return 0


async def _answer(client: Client, conversation: Conversation, id: str, text: str) -> int:
    from .questions import meant, own_id, send_answer

    interrupt_id = await own_id(client, id)
    pid = await send_answer(client, interrupt_id, await meant(client, interrupt_id, text))
    return await conversation.follow(pid, answered=interrupt_id)


def _given(**options: str | Path | None) -> list[str]:
    """The options that were given, to be given again."""
    pairs = ((f"--{name}", str(value)) for name, value in options.items() if value is not None)
    return [word for pair in pairs for word in pair]


def _client(url: str | None, data: Path | None, user: str | None) -> Client:
    from .client import Client, ServerGone
    from .settings import checked_url, checked_user, settings_from

    if user is not None:
        checked_user(user)
    token = os.environ.get("MISSION_TOKEN")
    if url is not None:
        address = checked_url(url)
        return Client(lambda: address, user, token)
    folder = settings_from(data=data).data

    def locate() -> str:
        from ...core.storage.lease import Lease

        holder = Lease.read(folder)
        if holder is None or holder.url is None:
            raise ServerGone(
                f"no server runs on the data folder '{folder}'."
                f" Start one with: mission serve --data {folder} (or name one with --url)"
            )
        return holder.url

    return Client(locate, user, token)

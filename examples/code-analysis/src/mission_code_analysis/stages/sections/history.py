"""Answers about the history of a file, a name or the whole tree."""

from __future__ import annotations

from ..calls import Findings, history
from ..choice import Choices
from ..draft import Draft, quote
from ..intent import Intent
from ..planner import with_history
from .names import not_found


def commits(draft: Draft, intent: Intent, findings: Findings, choices: Choices) -> None:
    for name in intent.subjects:
        if not choices.symbols(name):
            not_found(draft, name, findings)
    named = intent.subjects or intent.paths
    for path in with_history(intent, choices) if named else [""]:
        log = findings.get(history(path))
        if log is None:
            continue
        what = f"`{log.path}`" if log.path else "the source tree"
        if not log.commits:
            draft.say(f"There is no history of {what}: {log.note}.")
            continue
        draft.say(f"The history of {what}, newest first:")
        for commit in log.commits:
            draft.say(f"- {commit.date} {commit.id} {quote(commit.subject)} by {commit.author}")
        if log.cut:
            draft.say(f"({log.cut.capitalize()}.)")

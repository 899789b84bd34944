"""Answers about files: what they contain, the tree as a whole."""

from __future__ import annotations

from collections import Counter

from ..calls import Findings, folder, lines, listing, modules, outline
from ..choice import Choices
from ..draft import Draft, by_suffix, count
from ..intent import Intent
from ..planner import chosen_files, faces

MEMBERS = 20
FILES = 40
_METADATA = ("name", "description", "requires-python")


def contents(draft: Draft, intent: Intent, findings: Findings, choices: Choices) -> None:
    for asked in intent.paths:
        if not choices.files(asked):
            draft.say(f"There is no file or folder `{asked}` here, or it is not shown.")
    for path in chosen_files(intent, choices):
        if path.endswith("/"):
            _folder(draft, path.rstrip("/"), findings)
            continue
        text, inside = findings.get(lines(path)), findings.get(outline(path))
        if text is None:
            draft.say(f"`{path}` could not be read.")
            continue
        symbols = inside.symbols if inside else ()
        draft.say(f"`{path}` has {count(text.total_lines, 'line')}.")
        for module in (symbol for symbol in symbols if symbol.kind == "module" and symbol.doc):
            draft.cite(path, module.doc_line, module.doc)
        members = [symbol for symbol in symbols if symbol.kind != "module"]
        if members:
            kinds = Counter(symbol.kind for symbol in members)
            draft.say("It defines " + ", ".join(count(n, kind) for kind, n in kinds.items()) + ":")
            top = [symbol for symbol in members if symbol.qualname == symbol.name]
            draft.cite_symbols((top or members)[:MEMBERS], len(top or members))
        else:
            for number, line in enumerate(text.lines[:8], start=text.start):
                if line.strip():
                    draft.cite(path, number, line)


def overview(draft: Draft, findings: Findings) -> None:
    files = findings.get(listing())
    if files:
        draft.say(f"The source tree has {count(files.total, 'file')}: {by_suffix(files)}.")
        if files.by_folder:
            parts = (f"`{name}` ({number})" for name, number in files.by_folder.items())
            draft.say(f"Its folders, with the files in each: {', '.join(parts)}.")
    for path in faces(findings):
        text = findings.get(lines(path))
        told = [(n, t) for n, t in enumerate(text.lines if text else (), start=1) if t.strip()]
        if path == "pyproject.toml":
            told = [(n, t) for n, t in told if t.startswith(_METADATA)]
        if told:
            draft.say(f"From `{path}`:")
        for number, line in told[:8]:
            draft.cite(path, number, line)


def _folder(draft: Draft, path: str, findings: Findings) -> None:
    found, documented = findings.get(folder(path)), findings.get(modules(path))
    if found is None:
        draft.say(f"`{path}/` could not be read.")
        return
    told = {each.path: each for each in (documented.symbols if documented else ()) if each.doc}
    draft.say(f"`{path}/` has {count(found.total, 'file')}:")
    for each in found.paths[:FILES]:
        if each not in told or not draft.cite(each, told[each].doc_line, told[each].doc):
            draft.say(f"- {each}")
    if found.total > FILES:
        draft.say(f"({found.total - FILES} more are not shown.)")

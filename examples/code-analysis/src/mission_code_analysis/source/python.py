"""Definitions and uses in Python, from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from threading import Lock

from ..results import Role, Symbol
from .tree import Source

# CPython 3.11 counts the depth of the trees it builds once for all threads: two that parse at the
# same time can make each other fail with a SystemError.
_PARSING = Lock()

# The parser lets no other thread run and cannot be stopped, and f-strings take it time that grows
# with the square of their length: a file of 400 KB on one line holds the whole server for half a
# minute.
MAX_CHARS = 200_000
MAX_LINE = 2_000

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def is_python(source: Source) -> bool:
    return source.path.endswith((".py", ".pyi"))


def is_too_large(source: Source) -> bool:
    """Whether parsing it could hold up everything else for seconds."""
    return len(source.text) > MAX_CHARS or any(len(line) > MAX_LINE for line in source.lines)


def parse(source: Source) -> ast.Module | None:
    """The syntax tree, or None for what is not Python, does not parse or is too large to try."""
    if not is_python(source) or is_too_large(source):
        return None
    try:
        with _PARSING:
            return ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nesting
        return None


def outline(source: Source, module: ast.Module) -> list[Symbol]:
    """The module itself, then its functions, classes, methods and assignments, by line.
    Variables inside functions are left out."""
    stem = source.path.rsplit(".", 1)[0].removesuffix("/__init__").rsplit("/", 1)[-1]
    found = [_symbol(source, module, stem, stem, "module", 1, max(1, len(source.lines)))]
    pending: list[tuple[ast.AST, str, str]] = [(module, "", "module")]
    while pending:
        parent, prefix, scope = pending.pop()
        for node in ast.iter_child_nodes(parent):
            match node:
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    kind = "class" if isinstance(node, ast.ClassDef) else "function"
                    if kind == "function" and scope == "class":
                        kind = "method"
                    qualname, end = prefix + node.name, node.end_lineno or node.lineno
                    found.append(_symbol(source, node, node.name, qualname, kind, node.lineno, end))
                    inner = "class" if kind == "class" else "function"
                    pending.append((node, f"{qualname}.", inner))
                case ast.Assign() | ast.AnnAssign() if scope != "function":
                    for name in _targets(node):
                        kind = "attribute" if scope == "class" else "variable"
                        end = node.end_lineno or node.lineno
                        found.append(
                            _symbol(source, node, name.id, prefix + name.id, kind, name.lineno, end)
                        )
                case ast.stmt() | ast.excepthandler() | ast.match_case():
                    pending.append((node, prefix, scope))  # if, try, with: same scope
                case _:
                    pass  # an expression defines nothing that has a name of its own
    return sorted(found, key=lambda symbol: (symbol.line, symbol.qualname))


def roles(module: ast.Module, name: str) -> tuple[dict[int, Role], str]:
    """What `name` is on each line where it stands in the code, and the module it is imported
    from ("" if it is not). Lines that are missing have it in a comment or a text only."""
    found: dict[int, Role] = {}
    origin = ""
    rank: list[Role] = ["mention", "import", "use", "definition"]

    def add(line: int, role: Role) -> None:
        found[line] = max(found.get(line, "mention"), role, key=rank.index)

    for node in ast.walk(module):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                add(node.lineno, "definition")
            case ast.ImportFrom():
                parts = (node.module or "").split(".")
                if name in parts:
                    add(node.lineno, "import")
                for alias in node.names:
                    if name in (alias.name, alias.asname):
                        add(alias.lineno, "import")
                        origin = "." * node.level + (node.module or "")
            case ast.Import():
                for alias in node.names:
                    if name in (*alias.name.split("."), alias.asname):
                        add(alias.lineno, "import")
                        origin = alias.name
            case ast.Name(id=text) | ast.arg(arg=text) | ast.keyword(arg=text) if text == name:
                add(node.lineno, "use")
            case ast.Attribute(attr=text) if text == name:
                add(node.end_lineno or node.lineno, "use")
            case _:
                pass
    return found, origin


def _targets(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.Name]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(part, ast.Name):
                yield part


def _symbol(
    source: Source, node: ast.AST, name: str, qualname: str, kind: str, line: int, end: int
) -> Symbol:
    text = source.lines[line - 1] if source.lines else ""
    doc, doc_line = _documentation(source, node) if isinstance(node, Documented) else ("", 0)
    return Symbol(
        name=name,
        qualname=qualname,
        kind=kind,
        path=source.path,
        line=line,
        end_line=end,
        text=text,
        doc=doc,
        doc_line=doc_line,
    )


def _documentation(source: Source, node: Documented) -> tuple[str, int]:
    """The first line of a docstring as it stands in the source, and where."""
    text = ast.get_docstring(node)
    if not text:
        return "", 0
    first, statement = text.split("\n", 1)[0].strip(), node.body[0]
    for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
        if first in source.lines[line - 1]:
            return first, line
    return "", 0  # written with escapes: it cannot be quoted as it stands

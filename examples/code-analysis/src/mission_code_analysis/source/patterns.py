"""Definitions in other languages, by one line's look. Simple, and sometimes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..results import Role, Symbol
from .tree import Source

MAX_LINE = 400  # nobody defines anything on a longer one, and patterns stay cheap


class Pattern(NamedTuple):
    kind: str
    regex: re.Pattern[str]


def _patterns(*pairs: tuple[str, str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(kind, re.compile(regex)) for kind, regex in pairs)


_SCRIPT = _patterns(
    ("function", r"\s*(?:export )?(?:default )?(?:async )?function\b\s*\*?\s*([\w$]+)"),
    ("class", r"\s*(?:export )?(?:default )?(?:abstract )?class ([\w$]+)"),
    ("interface", r"\s*(?:export )?(?:declare )?interface ([\w$]+)"),
    ("enum", r"\s*(?:export )?(?:declare )?(?:const )?enum ([\w$]+)"),
    ("type", r"\s*(?:export )?(?:declare )?type ([\w$]+)\b.*="),
    ("variable", r"(?:export )?(?:const|let|var) ([\w$]+)"),
    (
        "method",
        r"\s+(?:(?:public|private|protected|static|async|get|set) )*"
        r"(?!if\b|for\b|while\b|switch\b|catch\b|return\b|function\b|with\b)"
        r"([\w$#]+)\s*\([^()]*\)\s*(?::[^{;]*)?\{",
    ),
)
_GO = _patterns(
    ("method", r"func \([^()]*\) (\w+)"),
    ("function", r"func (\w+)"),
    ("type", r"type (\w+)"),
    ("variable", r"(?:var|const) (\w+)"),
)
_RUST = _patterns(
    (
        "function",
        r'\s*(?:pub(?:\([^()]*\))? )?(?:(?:const|async|unsafe|extern(?: "\w+")?) )*fn (\w+)',
    ),
    ("type", r"\s*(?:pub(?:\([^()]*\))? )?(?:struct|enum|union|trait|type) (\w+)"),
    ("module", r"\s*(?:pub(?:\([^()]*\))? )?mod (\w+)"),
    ("constant", r"\s*(?:pub(?:\([^()]*\))? )?(?:const|static)(?: mut)? (\w+)\s*:"),
    ("macro", r"\s*macro_rules! (\w+)"),
)
_JAVA_WORDS = r"(?:public|protected|private|static|final|abstract|synchronized|native|default)"
_JAVA = _patterns(
    ("class", rf"\s*(?:{_JAVA_WORDS} |sealed )*(?:class|interface|enum|record|@interface) (\w+)"),
    ("method", rf"\s+(?:{_JAVA_WORDS} )+[\w<>\[\],.? ]*?\b(\w+)\s*\("),
    ("field", rf"\s+(?:{_JAVA_WORDS} )+[\w<>\[\],.? ]*?\b(\w+)\s*[=;]"),
)
_C = _patterns(
    ("macro", r"\s*#\s*define (\w+)"),
    ("type", r"\s*(?:typedef )?(?:struct|enum|union|class) (\w+)\s*(?:[:{].*)?$"),
    ("function", r"(?!typedef\b|return\b|else\b)[A-Za-z_][\w*&:<> ]*?\b(\w+)\s*\([^;]*$"),
)
_PYTHON = _patterns(
    ("function", r"\s*(?:async )?def (\w+)"),
    ("class", r"\s*class (\w+)"),
    ("variable", r"(\w+)(?:\s*:[^=]+)?\s*=(?!=)"),
)
_MARKDOWN = _patterns(("heading", r"#{1,6} (.+?)[ #]*$"))
_TABLES = _patterns(("section", r"\[+([^\[\]]+)\]+\s*(?:#.*)?$"))

LANGUAGES: Mapping[str, tuple[Pattern, ...]] = {
    **dict.fromkeys(("js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"), _SCRIPT),
    **dict.fromkeys(("c", "h", "cc", "cpp", "cxx", "hpp", "hh"), _C),
    **dict.fromkeys(("py", "pyi"), _PYTHON),
    **dict.fromkeys(("md", "markdown"), _MARKDOWN),
    **dict.fromkeys(("toml", "ini", "cfg"), _TABLES),
    "go": _GO,
    "rs": _RUST,
    "java": _JAVA,
}
_FENCE = re.compile(r"\s*(```|~~~)")
_COMMENT = re.compile(r"\s*(?:#(?!\s*(?:include|define)\b)|//|/\*|\*|--|;|<!--)")
_IMPORT = re.compile(
    r"\s*(?:(?:import|from|use|pub use|#\s*include)\b|export .* from\b|.*\brequire\()"
)


def definitions(path: str, lines: list[str]) -> Iterator[tuple[str, str, int]]:
    """(kind, name, line) of each definition, by line."""
    suffix = path.rsplit(".", 1)[-1].lower()
    patterns = LANGUAGES.get(suffix, ())
    fenced = False
    for number, line in enumerate(lines if patterns else (), start=1):
        if patterns is _MARKDOWN and _FENCE.match(line):
            fenced = not fenced
        if fenced or len(line) > MAX_LINE:
            continue
        for kind, regex in patterns:
            if found := regex.match(line):
                yield kind, found[1], number
                break


def outline(source: Source) -> list[Symbol]:
    """The definitions of a file, by line. Nesting is not known, so a name is its own qualname."""
    return [
        Symbol(
            name=name,
            qualname=name,
            kind=kind,
            path=source.path,
            line=number,
            end_line=number,
            text=source.lines[number - 1],
        )
        for kind, name, number in definitions(source.path, source.lines)
    ]


def role(path: str, line: str) -> Role:
    """Whether a line of code that holds a name imports it, uses it, or only speaks of it."""
    suffix = path.rsplit(".", 1)[-1].lower()
    if suffix not in LANGUAGES or LANGUAGES[suffix] is _MARKDOWN or _COMMENT.match(line):
        return "mention"
    return "import" if _IMPORT.match(line) else "use"

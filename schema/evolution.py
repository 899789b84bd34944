"""What a change of the schema does to clients, and what is said of it.

The baseline is the schema that clients were promised: that of the last release. A change that
breaks one of them is announced in the changelog, under `### Breaking` of its newest part, with the
changed thing as the schema names it: `Session.title`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
)

_THINGS = (
    re.compile(r"(@\w+(?:\(\w+:\))?)"),  # @cached, @cached(seconds:)
    re.compile(r"(\w+\.\w+(?:\(\w+:\))?)"),  # Session.title, Session.messages(first:)
    re.compile(r"union type (\w+)"),
    re.compile(r"^(?:Standard scalar )?(\w+)"),
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HEADING = re.compile(r"^## +\[?(\w[\w.]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Break:
    """One breaking change: what it is of, such as `Session.title`, and what was done to it."""

    thing: str
    description: str


def breaks(old: str, new: str) -> list[Break]:
    """What breaks clients of `old` where `new` is served; both in the definition language.

    Raises:
        GraphQLError: one of them is no schema.
    """
    changes = find_breaking_changes(build_schema(old), build_schema(new))
    return [Break(_thing(change.description), change.description) for change in changes]


def _thing(description: str) -> str:
    """The part of the schema that a description of graphql-core is about."""
    found = next((match for thing in _THINGS if (match := thing.search(description))), None)
    return found[1] if found else description


def unannounced(changes: list[Break], changelog: str) -> list[Break]:
    """Those that the newest part of the changelog does not name under `### Breaking`."""
    told = set(re.findall(r"`([^`]+)`", _breaking(changelog)))
    return [change for change in changes if change.thing not in told]


def is_released(changelog: str) -> bool:
    """Whether the changelog tells of any release."""
    return any(name[0].isdigit() for name in _HEADING.findall(changelog))


def _breaking(changelog: str) -> str:
    newest = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:2]
    parts = re.split(r"^### ", newest[0] if newest else "", flags=re.MULTILINE)
    return "\n".join(part for part in parts if part.startswith("Breaking"))


def undated_deprecations(schema: GraphQLSchema) -> Iterator[str]:
    """What is deprecated for a reason that says not since when: no date as 2027-01-31."""
    for name, reason in _deprecations(schema):
        dates = _DATE.findall(reason)
        if not dates or not any(_is_date(text) for text in dates):
            yield f"{name}: {reason}"


def _deprecations(schema: GraphQLSchema) -> Iterator[tuple[str, str]]:
    for type_name, type_ in schema.type_map.items():
        if type_name.startswith("__"):
            continue
        if isinstance(type_, GraphQLEnumType):
            parts = {f"{type_name}.{name}": value for name, value in type_.values.items()}
        elif isinstance(type_, GraphQLInputObjectType):
            parts = {f"{type_name}.{name}": field for name, field in type_.fields.items()}
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            parts = {f"{type_name}.{name}": field for name, field in type_.fields.items()}
            for name, field in type_.fields.items():
                parts |= {f"{type_name}.{name}({key})": arg for key, arg in field.args.items()}
        else:
            continue
        for name, part in parts.items():
            if part.deprecation_reason is not None:
                yield name, part.deprecation_reason


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True

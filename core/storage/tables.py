"""The tables of this version, against those that a database has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from .persistence import NothingStored, Row

CATALOG = {
    "sqlite": """
        SELECT t.name AS "table", c.name AS "column",
            c."notnull" AND c.dflt_value IS NULL AS needed
        FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table'
    """,
    "postgresql": """
        SELECT t.relname AS "table", c.attname AS "column",
            c.attnotnull AND NOT c.atthasdef AND c.attidentity = '' AS needed
        FROM pg_catalog.pg_class AS t
        JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
        JOIN pg_catalog.pg_attribute AS c ON c.attrelid = t.oid
        WHERE n.nspname = current_schema() AND t.relkind IN ('r', 'p')
        AND c.attnum > 0 AND NOT c.attisdropped
    """,
}
"""By backend: the one query that lists every column, as `table` and `column`; `needed` says that a
new row has to name it."""


def lacking(rows: Iterable[Row]) -> str | None:
    """What the models describe and `rows` of the catalog do not list: `table x`, or `column x.y`,
    and how many more. None where nothing is missing."""
    there: dict[str, set[str]] = {}
    for row in rows:
        there.setdefault(row["table"], set()).add(row["column"])
    missing = list(_missing(there))
    return _first(missing) if missing else None


def differing(rows: Iterable[Row]) -> str | None:
    """What keeps this version from a database with these `rows` of the catalog: it `lacks table x`,
    or `has column x.y` that has to be filled and is not known. None where nothing does."""
    rows = list(rows)
    if missing := lacking(rows):
        return f"lacks {missing}"
    known = _described()
    unfilled = sorted(
        f"{row['table']}.{row['column']}"
        for row in rows
        if row["needed"] and row["column"] not in known.get(row["table"], (row["column"],))
    )
    return f"has column {_first(unfilled)}, which this version does not fill" if unfilled else None


def check_stored(rows: Iterable[Row], place: str) -> None:
    """Raise NothingStored where `rows` of the catalog do not list every table and column."""
    if missing := lacking(rows):
        raise NothingStored(place, missing)


def _first(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


def _missing(there: Mapping[str, set[str]]) -> Iterator[str]:
    for table, columns in _described().items():
        if table not in there:
            yield f"table {table}"
        else:
            yield from (f"column {table}.{name}" for name in sorted(columns - there[table]))


@cache
def _described() -> dict[str, set[str]]:
    from tortoise.fields.relational import ForeignKeyFieldInstance
    from tortoise.models import Model

    from . import models, search_models

    def column(name: str, field: Any) -> str:
        # As Tortoise names it once its models are set up, which need not be so here.
        key = isinstance(field, ForeignKeyFieldInstance)
        return field.source_field or (f"{name}_id" if key else name)

    return {
        model._meta.db_table: {column(*each) for each in model._meta.fields_map.items()}
        for module in (models, search_models)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, Model) and model is not Model
    }
